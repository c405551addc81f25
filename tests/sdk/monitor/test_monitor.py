"""The promises of ``watch`` to a training: no number changes, no hook remains, every unit is counted."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

import relumine
from tests.helpers.step_hooks import step_hooks


def watched_losses(mlp, train, **options):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with relumine.watch(model, optimizer, strict=True, **options) as monitor:
        losses = train(model, optimizer, steps=120)
    return losses, [p.detach().clone() for p in model.parameters()], monitor


def test_losses_and_weights_are_bit_identical_watched_and_unwatched(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    bare = train(model, optimizer, steps=120)
    losses, weights, _ = watched_losses(mlp, train)
    assert losses == bare
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert len(memory.records("1")) > 5


def test_every_step_sampled_still_changes_no_number(mlp, train, memory):
    assert watched_losses(mlp, train, every=1)[0] == watched_losses(mlp, train, mode="disabled")[0]
    assert len(memory.records("1")) == 120


def hooks_on(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def global_hooks():
    return len(nn.modules.module._global_forward_hooks) + len(nn.modules.module._global_forward_pre_hooks)


def copies_work(model):
    copy.deepcopy(model)
    pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    torch.save(model, io.BytesIO())
    torch.save(model.state_dict(), io.BytesIO())


def test_after_close_the_model_carries_no_hook_and_copies(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = relumine.watch(model, optimizer, strict=True)
    train(model, optimizer)
    monitor.close()
    assert hooks_on(model) == 0
    assert step_hooks(optimizer) == 0
    copies_work(model)


def test_between_sampled_steps_the_model_carries_no_hook_and_copies_at_any_step(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bare_steps = []

    def check(step):
        copies_work(model)
        assert hooks_on(model) == 0
        if global_hooks() == 0:
            bare_steps.append(step)

    with relumine.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer, after_step=check)
        stats = monitor.sdk_stats()
    assert len(bare_steps) >= stats["steps"] - stats["sampled_steps"]
    assert len(bare_steps) > stats["steps"] / 2


def test_a_copy_made_on_a_sampled_step_is_not_watched(mlp, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        assert (hooks_on(model), global_hooks()) == (0, 2)
        twin = copy.deepcopy(model)
        twin(torch.randn(4, 6))
        assert {row["observed"] for row in monitor.coverage().values()} == {"never"}


def test_statistics_are_those_of_the_examples(mlp, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(50, 6)
    with relumine.watch(model, optimizer, every=1, strict=True):
        model(x).sum().backward()
        optimizer.step()
    record = memory.records("1")[0]
    z = model[0](x).detach()
    arrays = record.arrays()
    assert record.n_examples == 50
    assert arrays["active"].tolist() == (z > 0).sum(0).tolist()
    assert arrays["mean"] == pytest.approx(z.mean(0).numpy(), abs=1e-6)
    assert arrays["var"].astype(float) == pytest.approx(z.var(0, unbiased=False).numpy(), rel=2e-3)
    assert arrays["max"].astype(float) == pytest.approx(z.amax(0).numpy(), rel=2e-3)


def test_inactive_examples_are_counted_across_records(memory):
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for sign in (1, 1, -1, 1):
            (model(sign * torch.ones(10, 1)).sum() * 0).backward()
            optimizer.step()
    silent = [record.arrays()["silent"].tolist() for record in memory.records("1")]
    ended = [record.arrays()["longest_silence"].tolist() for record in memory.records("1")]
    assert silent == [[0, 10], [0, 20], [10, 0], [0, 10]]
    assert ended == [[0, 0], [0, 0], [0, 20], [10, 0]]


def test_non_finite_values_are_counted_not_sent(memory):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True):
        (model(torch.full((4, 2), float("nan"))).sum() * 0).backward()
        optimizer.step()
    record = memory.records("1")[0]
    assert record.nonfinite == 3
    assert record.arrays() == {}


def test_a_jump_of_the_learning_rate_is_followed_step_by_step(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def jump(step):
        if step == 59:
            optimizer.param_groups[0]["lr"] = 0.05

    with relumine.watch(model, optimizer, strict=True):
        train(model, optimizer, steps=120, after_step=jump)
    steps = [record.step for record in memory.records("1")]
    assert set(range(62, 111)) <= set(steps)


def test_uploads_come_in_order_and_the_last_one_closes_the_run(mlp, train, memory):
    watched_losses(mlp, train, every=1)
    assert [upload.seq for upload in memory.uploads] == sorted({upload.seq for upload in memory.uploads})
    assert [upload.final_status for upload in memory.uploads][-1] == "finished"
    assert [len(upload.layers) for upload in memory.uploads][0] == 2


def test_an_exception_in_the_training_ends_the_run_as_failed(mlp, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ZeroDivisionError), relumine.watch(model, optimizer):
        raise ZeroDivisionError
    assert memory.uploads == []


def test_import_loads_neither_torch_nor_httpx():
    code = "import relumine, sys; assert not {'torch', 'httpx'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metrics_are_flat_numbers_for_other_loggers(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer)
        monitor.flush()
        metrics = monitor.metrics()
    rates = ("active_rate", "silent_fraction", "dead_fraction", "born_dead_fraction")
    names = {f"relumine/{layer}/{rate}" for layer in "13" for rate in rates}
    assert set(metrics) == names
    assert all(0 <= value <= 1 for value in metrics.values())


@pytest.mark.parametrize("options", [{}, {"start_step": 12}])
def test_the_start_of_a_resumed_run_is_sampled_as_densely_as_that_of_a_new_one(options, mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, steps=500)
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, strict=True, run_id="resumed", **options):
        optimizer.load_state_dict(saved)
        train(model, optimizer, steps=14)
    origin = options.get("start_step", 500)
    assert [record.step - origin for record in memory.records("1")] == [1, 2, 3, 6, 9, 12]


@pytest.mark.parametrize("options", [{}, {"start_step": 12}])
def test_a_resumed_run_continues_at_the_step_of_its_checkpoint(options, mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        train(model, optimizer, steps=20)
    saved = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    memory.uploads.clear()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1, strict=True, run_id=monitor.run_id, **options):
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        train(model, optimizer, steps=5)
    first = options.get("start_step", 20) + 1
    assert [record.step for record in memory.records("1")] == list(range(first, first + 5))
    assert {upload.run.id for upload in memory.uploads} == {monitor.run_id}
    assert memory.uploads[0].run.resumed
