"""What a script tells the monitor itself: taps, marks and logged numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine


@pytest.mark.parametrize("detached", [False, True])
def test_tap_counts_only_what_the_mask_lets_through_and_never_asks_the_device(detached, memory):
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
    kept = (z.detach() - 0.1)[mask]
    assert (rows["jump"]["observed"], rows["jump"]["split"], rows["jump"]["n_unit"]) == ("tap", "none", "positions")
    assert record.n_examples == kept.shape[0]
    assert record.arrays()["active"].tolist() == (kept > 0).sum(0).tolist()
    assert record.arrays()["mean"] == pytest.approx(kept.double().mean(0).numpy(), rel=1e-5, abs=1e-6)
    assert record.arrays()["max"].astype(float) == pytest.approx(kept.amax(0).numpy(), rel=2e-3)


def test_a_mark_travels_with_the_next_look(memory):
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
    assert [(n.step, n.name) for upload in memory.uploads for n in upload.numbers] == [(3, "mark/revived")]


def test_logged_numbers_travel_and_odd_ones_do_not(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer, after_step=lambda step: monitor.log(loss=0.5, step=step))
        monitor.log({"accuracy": torch.tensor(0.75), "odd": float("nan")})
    numbers = {(n.name, n.value) for upload in memory.uploads for n in upload.numbers}
    assert numbers == {("loss", 0.5), ("accuracy", 0.75)}
