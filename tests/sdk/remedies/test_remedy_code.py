"""The code of every remedy that an alert can propose runs as it is pasted, and does what the remedy promises."""

from __future__ import annotations

import faulthandler
import re
from datetime import UTC, datetime
from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from relumine import remedies as public_remedies
from relumine.schemas.alert import Cause, Kind
from relumine.schemas.watching import EXPLANATIONS
from relumine_server.alerts import stall_detection, unwatched
from relumine_server.detection.remedies import Target, remedies
from relumine_server.detection.remedy_code import FUNCTIONS

RATE = 0.5
DEAD = 12
"""Units of 16 of the first hidden layer that are dead."""
ODD_NAME = "act[0]*"
KINDS = [kind for kind in get_args(Kind) if kind != "stalled"]
EVIDENCE = {
    "units": 16, "kill_ratio": 1.0, "upstream": [1], "upstream_names": ["act"],
    "learning_rate": {"now": RATE, "before": None},
}  # fmt: skip


class Training:
    """A small model with a dead layer, its optimizer and its inputs."""

    def __init__(self, layer):
        torch.manual_seed(0)
        self.layer = layer
        self.model = nn.Sequential()
        for name, module in (("fc1", nn.Linear(6, 16)), (layer, nn.ReLU()), ("fc2", nn.Linear(16, 2))):
            self.model.add_module(name, module)
        with torch.no_grad():
            self.model.fc1.bias[:DEAD] = -50.0
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, weight_decay=0.1)
        self.inputs = 3 + 5 * torch.randn(64, 6)
        self.model(self.inputs).square().sum().backward()

    def paste(self, code):
        """Run code with the three names of docs/remedies.md, and take what it assigns to them."""
        names = {"model": self.model, "optimizer": self.optimizer, "inputs": self.inputs}
        exec(code, names)  # noqa: S102 - what a person would do with it
        self.inputs = names["inputs"]

    def active_rates(self):
        return (self.model.fc1(self.inputs) > 0).double().mean(0)

    def gradient_norm(self):
        return torch.cat([p.grad.flatten() for p in self.model.parameters()]).norm().item()


PROMISES = {
    "lower_learning_rate": lambda training, value: (
        training.optimizer.param_groups[0]["lr"] == pytest.approx(RATE / 10 if value is None else value)
    ),
    "lower_weight_decay": lambda training, value: training.optimizer.param_groups[0]["weight_decay"] == value == 0,
    "revive_": lambda training, _: (training.active_rates() > 0.2).all(),
    "treat_upstream": lambda training, _: (training.active_rates() > 0.2).all(),
    "reset_bias_": lambda training, _: training.active_rates()[:DEAD].tolist() == pytest.approx([0.5] * DEAD),
    "replace_relu_": lambda training, value: training.model.get_submodule(training.layer).negative_slope == value,
    "normalize_input": lambda training, _: (
        (training.inputs.mean().item(), training.inputs.std().item()) == pytest.approx((0, 1), abs=1e-5)
    ),
    "clip_gradient": lambda training, value: training.gradient_norm() <= value + 1e-4,
}
"""The effect of each action that has one."""


def proposals():
    """Return every remedy that a kind, a cause and the numbers that choose among remedies can give, by its code."""
    by_code = {}
    grid = product(KINDS, get_args(Cause), (None, -0.4), (None, 0.05), (4, DEAD), (RATE, None), ("act", ODD_NAME, None))
    for kind, cause, change, previous, silent, rate, layer in grid:
        evidence = EVIDENCE | {
            "units_silent": silent,
            "weights": {"change": change},
            "learning_rate": {"now": rate, "before": previous},
        }
        for remedy in remedies(kind, cause, evidence, {}, None, Target(layer, "act", "act")):
            by_code[remedy.code] = (remedy, layer or "act")
    return list(by_code.values())


PROPOSALS = proposals()


@pytest.mark.parametrize(("remedy", "layer"), PROPOSALS, ids=[remedy.action for remedy, _ in PROPOSALS])
def test_the_code_of_a_remedy_runs_and_keeps_its_promise(remedy, layer, capsys):
    training = Training(layer if remedy.action != "treat_upstream" else "act")
    assert (training.active_rates()[:DEAD] == 0).all()
    training.paste(remedy.code)
    if remedy.action in PROMISES:
        assert PROMISES[remedy.action](training, remedy.value), remedy
    else:
        assert capsys.readouterr().out
    names = re.findall(r"relumine\.remedies\.(\w+)", remedy.code)
    assert names == ([remedy.function] if remedy.function else names[: remedy.action == "treat_upstream"])


def test_every_action_with_a_function_has_the_name_of_the_function():
    assert set(FUNCTIONS) <= set(public_remedies.__all__)
    for remedy, _ in PROPOSALS:
        assert remedy.function == (remedy.action if remedy.action in FUNCTIONS else None)
    assert {remedy.function for remedy, _ in PROPOSALS} == {None, *FUNCTIONS}


@pytest.mark.parametrize("reason", EXPLANATIONS)
def test_the_code_for_a_training_that_is_not_watched_runs(reason, capsys):
    training = Training("act")
    training.model.eval()
    training.paste(unwatched.finding(reason, 10, 20).remedies[0].code)
    assert training.model.training == (reason == "eval_mode")
    assert bool(capsys.readouterr().out) == (reason != "eval_mode")


def test_the_code_for_a_stalled_run_runs():
    now = datetime(2026, 11, 30, tzinfo=UTC)
    heartbeat = stall_detection.Heartbeat(now, 0.0)
    try:
        Training("act").paste(stall_detection.finding(heartbeat, now, 10, 600.0).remedies[0].code)
    finally:
        faulthandler.cancel_dump_traceback_later()
