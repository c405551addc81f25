"""What a user passes by mistake is named once and costs nothing else: no sampled step, no other metric, no watching."""

from __future__ import annotations

import decimal
import fractions
import math
import signal

import numpy as np
import pytest
import torch
from torch import nn

import relumine
from relumine._export.run_aggregator import RunAggregator

STEPS = 25


class Raises:
    def __float__(self):
        raise RuntimeError("no")

    __int__ = __str__ = __repr__ = __bool__ = __float__


def watched(memory, slip):
    """Train with a slip at every step; return the metrics, all sampled steps and the statistics of the SDK."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1) as monitor:
        for step in range(STEPS):
            z = model(torch.randn(4, 6))
            slip(monitor, z)
            monitor.log(good=float(step))
            z.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 10 == 5:
                assert monitor.flush()
        stats = monitor.sdk_stats()
    metrics = {}
    for upload in memory.uploads:
        for metric in upload.metrics:
            metrics.setdefault(metric.name, []).append((metric.step, metric.value))
    assert [record.step for record in memory.records("1")] == list(range(1, STEPS + 1))
    assert [value for _, value in metrics.pop("good")] == list(map(float, range(STEPS)))
    assert (stats["errors"], stats["last_error"], stats["dropped_steps"]) == (0, None, {})
    return metrics


UNUSABLE = {
    "None": None,
    "vector": torch.ones(3),
    "empty tensor": torch.ones(0),
    "complex tensor": torch.ones((), dtype=torch.complex64),
    "meta tensor": torch.ones((), device="meta"),
    "sparse tensor": torch.ones(1).to_sparse(),
    "complex": 1j,
    "numpy complex": np.complex64(1j),
    "array": np.ones(3),
    "list": [0.5],
    "text": "high",
    "bytes": b"x",
    "function": math.sqrt,
    "huge integer": 10**400,
    "object": Raises(),
    "nan": math.nan,
    "inf": -math.inf,
    "nan tensor": torch.tensor(math.nan),
    "model": nn.Linear(2, 2),
}


@pytest.mark.parametrize("value", UNUSABLE.values(), ids=UNUSABLE)
def test_a_value_that_is_no_number_is_named_once_and_everything_else_is_sent(value, memory, capsys):
    metrics = watched(memory, lambda monitor, _: monitor.log({"bad": value, "beside": 1.0}))
    assert set(metrics) == {"beside"}
    lines = [line for line in capsys.readouterr().err.splitlines() if "'bad'" in line]
    assert len(lines) == 1, lines


USABLE = {
    "integer": (3, 3.0),
    "bool": (True, 1.0),
    "tensor with a graph": (torch.tensor(0.5, requires_grad=True) * 1, 0.5),
    "tensor of one element": (torch.full((1, 1), 0.5), 0.5),
    "bool tensor": (torch.tensor(1) > 0, 1.0),
    "half": (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
    "parameter": (nn.Parameter(torch.tensor(0.5)), 0.5),
    "numpy float": (np.float32(0.5), 0.5),
    "numpy integer": (np.int64(2), 2.0),
    "numpy bool": (np.bool_(1), 1.0),
    "0-d array": (np.array(0.5), 0.5),
    "array of one element": (np.full((1, 1), 0.5), 0.5),
    "decimal": (decimal.Decimal("0.5"), 0.5),
    "fraction": (fractions.Fraction(1, 2), 0.5),
}


@pytest.mark.parametrize(("value", "number"), USABLE.values(), ids=USABLE)
def test_whatever_is_one_number_is_sent_as_one(value, number, memory, capsys, recwarn):
    metrics = watched(memory, lambda monitor, _: monitor.log(x=value, loss=value))
    assert {sent for _, sent in metrics["x"]} == {number}
    assert "log:" not in capsys.readouterr().err
    assert not [warning for warning in recwarn if "relumine" in str(warning.filename)]


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ({"val": {"loss": 1.0, "by": {"class": 2.0}}}, {"val/loss", "val/by/class"}),
        ({0: 1.0, "x": 2.0}, {"0", "x"}),
        ({("a", 1): 1.0}, {"('a', 1)"}),
        ({"": 1.0, "x": 1.0}, {"x"}),
        ({"a\x00b\n\ud800": 1.0}, {"a\\x00b\\n\\ud800"}),
        ({None: 1.0}, {"None"}),
        ({Raises(): 1.0}, {"Raises"}),
        (0.5, set()),
        ([("a", 1.0)], set()),
        ("loss", set()),
    ],
)
def test_a_name_that_cannot_be_sent_is_made_one_that_can(numbers, names, memory):
    assert set(watched(memory, lambda monitor, _: monitor.log(numbers))) == names


def test_long_names_that_begin_alike_stay_apart(memory):
    metrics = watched(memory, lambda monitor, _: monitor.log({"x" * 300 + end: 1.0 for end in "ab"}))
    assert len(metrics) == 2
    assert {len(name) for name in metrics} == {200}


@pytest.mark.parametrize(
    ("step", "sent"),
    [(7, 7), (7.0, 7), (7.9, 7), (np.int64(7), 7), (torch.tensor(7), 7), (np.array(7), 7), (True, 1), (0, 0)],
)
def test_a_step_may_be_any_whole_number(step, sent, memory, capsys):
    metrics = watched(memory, lambda monitor, _: monitor.log(x=1.0, step=step))
    assert {step for step, _ in metrics["x"]} == {sent}
    assert "log:" not in capsys.readouterr().err


@pytest.mark.parametrize("step", [-1, math.nan, math.inf, 2**60, "x", [1], torch.ones(3), 1j, Raises()])
def test_where_the_step_cannot_be_used_the_number_is_sent_at_the_present_one(step, memory, capsys):
    metrics = watched(memory, lambda monitor, _: monitor.log(x=1.0, step=step))
    assert [step for step, _ in metrics["x"]] == list(range(STEPS))
    assert capsys.readouterr().err.count("log: the step") == 1


@pytest.mark.parametrize("name", [None, "", 5, "n" * 500, "a\x00b", Raises(), torch.ones(2)])
def test_a_mark_counts_whatever_its_name_is(name, memory):
    metrics = watched(memory, lambda monitor, _: monitor.mark(name))
    assert sum(map(len, metrics.values())) == STEPS
    assert all(name.startswith("mark/") and len(name) <= 200 for name in metrics)
    assert sum(record.marks for record in memory.records() if record.layer_id == 0) == STEPS


def tapped(memory, **arguments):
    watched(memory, lambda monitor, z: monitor.tap("tap", **{"z": z, **arguments}))
    return memory.records("tap")


def per_unit(value):
    return torch.full((9,), value)


@pytest.mark.parametrize(
    "threshold",
    [
        0.25,
        np.float32(0.25),
        torch.tensor(0.25),
        nn.Parameter(torch.tensor([0.25])),
        per_unit(0.25),
        nn.Parameter(per_unit(0.25)),
    ],
)
def test_a_threshold_may_be_a_number_or_a_tensor_per_unit(threshold, memory):
    records = tapped(memory, z=torch.linspace(-1, 1, 36).reshape(4, 9), threshold=threshold)
    assert len(records) == STEPS
    expected = (torch.linspace(-1, 1, 36).reshape(4, 9) > 0.25).sum(0).tolist()
    assert records[0].arrays()["active"].tolist() == expected


def test_a_threshold_per_unit_lies_along_the_units_of_images(memory):
    z = torch.randn(2, 5, 3, 3)
    threshold = torch.linspace(-1, 1, 5)
    records = tapped(memory, z=z, threshold=threshold)
    expected = (z > threshold[:, None, None]).any(-1).any(-1).sum(0).tolist()
    assert records[0].arrays()["active"].tolist() == expected


def test_the_threshold_may_be_a_list_or_have_the_shape_of_z(memory):
    z = torch.randn(4, 3)
    assert len(tapped(memory, z=z, threshold=[0.0, 0.5, 1.0])) == STEPS
    memory.uploads.clear()
    assert len(tapped(memory, z=z, threshold=torch.zeros(4, 3))) == STEPS


@pytest.mark.parametrize(
    "arguments",
    [
        {"z": None},
        {"z": [1.0, 2.0]},
        {"z": np.ones(3)},
        {"z": torch.tensor(1.0)},
        {"z": torch.ones(3, 4).to_sparse()},
        {"z": torch.ones(3, 4, dtype=torch.complex64)},
        {"z": torch.ones(3, 4, device="meta")},
        {"threshold": "high"},
        {"threshold": math.nan},
        {"threshold": torch.ones(7)},
        {"threshold": torch.ones(2, 4, 9)},
        {"threshold": Raises()},
        {"threshold": 1j},
        {"mask": torch.ones(3) > 0},
        {"mask": torch.ones(4, 9) > 0},
        {"mask": "all"},
        {"mask": [[True], [True, False]]},
    ],
    ids=lambda arguments: "-".join(f"{name} {type(value).__name__}" for name, value in arguments.items()),
)
def test_a_tap_that_cannot_be_recorded_is_named_once(arguments, memory, capsys):
    assert tapped(memory, **arguments) == []
    assert capsys.readouterr().err.count("tap: 'tap' is not recorded: ") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"z": torch.arange(12).reshape(4, 3)},
        {"z": torch.ones(5)},
        {"z": torch.ones(4, 3, dtype=torch.float64)},
        {"z": torch.ones(4, 3, dtype=torch.bfloat16)},
        {"z": torch.ones(4, 3) > 0},
        {"mask": torch.ones(4, 1)},
        {"mask": [True, False, True, True]},
        {"mask": np.ones(4)},
        {"threshold": None},
    ],
    ids=lambda arguments: "-".join(f"{name} {type(value).__name__}" for name, value in arguments.items()),
)
def test_a_tap_of_another_kind_is_recorded(arguments, memory):
    assert len(tapped(memory, **arguments)) == STEPS


def test_an_empty_tap_is_no_slip(memory, capsys):
    assert tapped(memory, z=torch.ones(0, 3)) == []
    assert "tap:" not in capsys.readouterr().err


def test_a_tap_whose_shape_or_mask_changes_is_another_layer(memory):
    shapes = [(4, 3), (4, 5), (2, 4, 3), (4, 3)]
    count = iter(range(10**6))

    def slip(monitor, _):
        z = torch.ones(shapes[next(count) % 4])
        monitor.tap("tap", z)
        monitor.tap("tap", z, mask=torch.ones(z.shape[:-1]) > 0)

    watched(memory, slip)
    units = {record.units for name in ("tap", "tap#2", "tap#3") for record in memory.records(name)}
    assert units == {3, 5}
    for record in memory.records():
        if "active" in record.arrays():
            assert record.arrays()["active"].max() <= record.n_examples


@pytest.mark.parametrize("name", [None, 5, "", "n" * 500, "a\x00b", Raises()])
def test_a_tap_has_a_name_that_can_be_sent(name, memory):
    watched(memory, lambda monitor, z: monitor.tap(name, z.detach()))
    names = {layer.name for upload in memory.uploads for layer in upload.layers}
    assert len(names) == 2


@pytest.mark.parametrize("timeout", [None, "x", -1, math.nan, math.inf, 10**400, torch.ones(3)])
def test_a_timeout_that_is_no_time_does_not_end_the_training(timeout, memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = relumine.watch(model, optimizer, every=1)
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    assert monitor.flush(timeout)
    monitor.close(timeout, final_status="failed")
    assert [upload.final_status for upload in memory.uploads][-1] == "failed"
    assert monitor.sdk_stats()["errors"] == 0


def test_an_unknown_final_status_ends_the_run_as_finished(memory, capsys):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = relumine.watch(model, optimizer, every=1)
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    monitor.close(final_status="succeeded")
    assert [upload.final_status for upload in memory.uploads][-1] == "finished"
    assert "final_status='succeeded'" in capsys.readouterr().err


def test_layers_whose_names_no_server_takes_are_described_under_ones_that_it_does(memory):
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("a\x00" + "x" * 400, nn.ReLU())
            self.fc = nn.Linear(6, 9)

        def forward(self, x):
            return next(self.children())(self.fc(x))

    model = Deep()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1, strict=True):
        model(torch.randn(4, 6)).sum().backward()
        optimizer.step()
    (layer,) = memory.uploads[0].layers
    assert layer.name.startswith("a\\x00xxx")


def test_one_sampled_step_that_cannot_be_read_costs_no_other(memory, monkeypatch):
    add = RunAggregator.add

    def add_but_one(self, stats):
        if stats.step == 7:
            raise RuntimeError("unreadable")
        add(self, stats)

    monkeypatch.setattr(RunAggregator, "add", add_but_one)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1) as monitor:
        for _ in range(20):
            model(torch.randn(4, 6)).sum().backward()
            optimizer.step()
    stats = monitor.sdk_stats()
    assert (stats["errors"], stats["dropped_steps"], stats["acked_steps"]) == (1, {"unreadable": 1}, 19)


def test_a_time_limit_of_the_application_is_not_suppressed_inside_of_the_sdk(memory, monkeypatch):
    class OutOfTimeError(Exception):
        pass

    def stop(_number, _frame):
        raise OutOfTimeError

    earlier = signal.signal(signal.SIGUSR1, stop)
    monkeypatch.setattr(
        "relumine._capture.layer_recorder.LayerRecorder.record", lambda *_, **__: signal.raise_signal(signal.SIGUSR1)
    )
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    try:
        with relumine.watch(model, optimizer, every=1) as monitor:
            with pytest.raises(OutOfTimeError):
                model(torch.randn(4, 6))
            assert monitor.sdk_stats()["errors"] == 0
    finally:
        signal.signal(signal.SIGUSR1, earlier)
