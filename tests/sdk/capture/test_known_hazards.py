"""Known hazards of hooks, each test named by the promise."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import relumine
from tests.helpers.relu_reference import Executions, compare

SYNCHRONIZING = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal"}


class Operations(TorchDispatchMode):
    """Records the names of all operators that run below autograd."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        if func.overloadpacket.__name__ in ("index", "index_put_"):
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            self.names += ["nonzero"] * len(masks)
        return func(*args, **(kwargs or {}))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten()
    )


def steps(model, optimizer, count, x):
    for _ in range(count):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_sampled_step_runs_no_operator_that_waits_for_a_device(memory):
    model, x = cnn(), torch.randn(4, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor, Operations() as operations:
        for step in range(10):
            z = model(x)
            monitor.tap("padded", z, mask=torch.arange(4) < 3)
            z.square().mean().backward()
            optimizer.step()
            monitor.log(loss=z.detach().mean(), step=step)
    assert len(memory.records("padded")) == 10
    assert SYNCHRONIZING.isdisjoint(operations.names)
    assert "_to_copy" not in operations.names


def test_an_in_place_relu_is_recorded_before_it_overwrites_its_input(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        with Executions() as executions:
            model(torch.randn(32, 6)).sum().backward()
        optimizer.step()
        rows = monitor.coverage()
    compare(executions.preactivations, rows, memory)
    assert (memory.records("1")[0].arrays()["mean"] < 0).any()


def test_statistics_do_not_change_when_the_preactivation_is_overwritten_later(memory):
    class LateWrite(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 9)

        def forward(self, x):
            z = self.fc(x)
            y = torch.relu(z)
            z.data.fill_(-1e9)
            return y

    model = LateWrite()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        model(torch.randn(32, 6)).sum().backward()
        optimizer.step()
    assert (memory.records("relu")[0].arrays()["max"] > 0).any()


def test_a_shared_relu_is_one_layer_per_use(memory):
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(6, 9), act, nn.Linear(9, 5), act)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        steps(model, optimizer, 3, torch.randn(8, 6))
        layers = [(name, row["units"], row["producer"]) for name, row in monitor.coverage().items()]
    assert layers == [("1", 9, "0"), ("1#2", 5, "2")]


def test_a_hook_never_replaces_a_tensor(memory):
    model, x = cnn(), torch.randn(4, 3, 8, 8)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True):
        assert torch.equal(model(x), twin(x))


@pytest.mark.parametrize("method", ["deepcopy", "pickle", "torch.save", "state_dict"])
def test_a_model_can_be_copied_in_the_middle_of_a_sampled_step(method, memory):
    model, x = cnn(), torch.randn(4, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    methods = {
        "deepcopy": lambda: copy.deepcopy(model),
        "pickle": lambda: pickle.loads(pickle.dumps(model)),  # noqa: S301 - our own bytes
        "torch.save": lambda: torch.save(model, io.BytesIO()),
        "state_dict": lambda: copy.deepcopy([model.state_dict(), optimizer.state_dict()]),
    }
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            loss = model(x).square().mean()
            methods[method]()
            loss.backward()
            methods[method]()
            optimizer.step()


def test_the_fused_attention_path_in_evaluation_gives_the_same_output_and_no_record(memory):
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = layer.eval()(x)
    with relumine.watch(layer, optimizer, every=1, strict=True), torch.no_grad():
        assert torch.equal(layer.eval()(x), expected)
    assert [r for r in memory.records() if r.layer_id] == []


def test_an_fx_trace_on_a_sampled_step_contains_nothing_of_the_sdk(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        traced = torch.fx.symbolic_trace(model)
        steps(model, optimizer, 2, torch.randn(4, 6))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    assert len(memory.records("1")) == 2


def test_a_step_skipped_by_a_gradient_scaler_is_added_to_the_next(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for step in range(6):
            loss = model(torch.randn(8, 6)).square().mean() * (float("inf") if step == 2 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        stats = monitor.sdk_stats()
    assert (stats["steps"], stats["errors"]) == (5, 0)
    assert [record.n_examples for record in memory.records("1")] == [8, 8, 16, 8, 8]


def test_an_interrupt_in_the_middle_of_a_forward_leaves_no_mode_behind(memory):
    class Interrupted(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 9)
            self.interrupt = True

        def forward(self, x):
            if self.interrupt:
                raise KeyboardInterrupt
            return torch.relu(self.fc(x))

    model = Interrupted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        with pytest.raises(KeyboardInterrupt):
            model(torch.randn(8, 6))
        model.interrupt = False
        steps(model, optimizer, 2, torch.randn(8, 6))
        assert torch.overrides._get_current_function_mode() is None
    assert [record.n_examples for record in memory.records("relu")] == [8, 8]


def test_the_number_of_calls_of_an_activation_may_change_from_step_to_step(memory):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)
            self.act = nn.ReLU()
            self.turns = 1

        def forward(self, x):
            for _ in range(self.turns):
                x = self.act(self.fc(x))
            return x

    model = Loop()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for turns in (1, 3, 2, 1, 1, 1, 1, 1, 1):
            model.turns = turns
            steps(model, optimizer, 1, torch.randn(8, 6))
    records = memory.records("act")
    assert [record.n_positions // record.n_examples for record in records[3:]] == [1] * 6
    assert len(records) == 9
    assert all(record.n_examples for record in memory.records())


def test_dataparallel_on_the_cpu_is_recorded_once(memory):
    model = nn.DataParallel(nn.Sequential(nn.Linear(6, 9), nn.ReLU()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        steps(model, optimizer, 2, torch.randn(8, 6))
    assert [record.n_examples for record in memory.records("1")] == [8, 8]


def test_a_jump_of_the_learning_rate_is_followed_by_a_burst_within_one_step(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        steps(model, optimizer, 100, torch.randn(8, 6))
        optimizer.param_groups[0]["lr"] = 0.05
        steps(model, optimizer, 30, torch.randn(8, 6))
        assert monitor.sdk_stats()["bursts"] == 1
    sampled_steps = [record.step for record in memory.records("1")]
    assert set(range(102, 131)) <= set(sampled_steps)
    assert len([step for step in sampled_steps if 3 < step <= 100]) < 30


def test_functional_relus_outside_of_watched_modules_are_ignored(memory):
    model = nn.Linear(6, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        functional.relu(model(torch.randn(8, 6))).sum().backward()
        optimizer.step()
        assert monitor.coverage() == {}


def test_exploding_weights_cause_no_error_and_lose_no_record(memory):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        steps(model, optimizer, 3, torch.randn(8, 4))
    assert monitor.sdk_stats()["errors"] == 0
    assert [record.step for record in memory.records("1")] == [1, 2, 3]
