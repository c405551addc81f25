"""Taps, marks and logged numbers: what a training script passes to the monitor itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine


@pytest.mark.parametrize("detached", [False, True])
def test_a_tap_counts_only_the_positions_under_the_mask(detached, memory):
    model = nn.Linear(6, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x, mask = torch.randn(4, 5, 6), torch.rand(4, 5) > 0.4
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        z = model(x)
        monitor.tap("jump", z.detach() if detached else z, threshold=0.1, mask=mask)
        torch.where(z > 0.1, z, 0.0).sum().backward()
        optimizer.step()
        rows = monitor.coverage()
    (record,) = memory.records("jump")
    selected = (z.detach() - 0.1)[mask]
    assert (rows["jump"]["observed"], rows["jump"]["split"], rows["jump"]["n_unit"]) == ("tap", "none", "positions")
    assert record.n_examples == selected.shape[0]
    assert record.arrays()["active"].tolist() == (selected > 0).sum(0).tolist()
    assert record.arrays()["mean"] == pytest.approx(selected.double().mean(0).numpy(), rel=1e-5, abs=1e-6)
    assert record.arrays()["max"].astype(float) == pytest.approx(selected.amax(0).numpy(), rel=2e-3)


def test_the_units_of_a_masked_tap_are_its_last_dimension_whatever_the_number_of_dimensions(memory):
    model = nn.Linear(6, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    mask = torch.rand(4, 5, 3) > 0.4
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        z = model(torch.randn(4, 5, 3, 6))
        monitor.tap("jump", z, mask=mask)
        z.sum().backward()
        optimizer.step()
        assert monitor.coverage()["jump"]["units"] == 9
    (record,) = memory.records("jump")
    assert record.arrays()["active"].tolist() == (z.detach()[mask] > 0).sum(0).tolist()


def test_a_mark_is_sent_with_the_next_sampled_step(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for step in range(6):
            if step == 3:
                monitor.mark("revived")
            model(torch.randn(8, 6)).sum().backward()
            optimizer.step()
    marks = [record.step for record in memory.records() if record.marks]
    assert marks == [4]
    assert [(n.step, n.name) for upload in memory.uploads for n in upload.metrics] == [(3, "mark/revived")]


def test_logged_numbers_are_sent_unless_they_are_not_finite(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer, after_step=lambda step: monitor.log(loss=0.5, step=step))
        monitor.log({"accuracy": torch.tensor(0.75), "broken": float("nan")})
    numbers = {(n.name, n.value) for upload in memory.uploads for n in upload.metrics}
    assert numbers == {("loss", 0.5), ("accuracy", 0.75)}
