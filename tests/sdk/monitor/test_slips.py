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
from tests.helpers.slips import STEPS, Raises, watched

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
