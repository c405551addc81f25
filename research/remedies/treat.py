"""One dying training of the corpus again, with remedies applied to its alerts."""

from __future__ import annotations

import contextlib
import io
import os
import random
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

import relumine
from relumine.remedies._on_alert.actions import ACTIONS
from relumine.schemas.alert import Alert, Remedy
from research.corpus.recipe import Recipe
from research.corpus.training import Training, run_id_of

Arm: TypeAlias = Literal["random", "recommended"]

CHECKPOINT_EVERY = 20
NEAR = 0.05
"""A training is as good as healthy if its final metric is within this share of the twin's."""
EXTRA_SHARE = 0.5
"""Share of the recipe's steps for which a training may go on afterwards."""
EXTRA_INTERVAL = 25
"""Steps between two evaluations of a training that goes on."""


def _fix_inputs(training: Training) -> bool:
    """Do what ``normalize_input`` asks for: restore the inputs, unless that was done before."""
    if training.inputs_fixed:
        return False
    training.inputs_fixed = True
    return True


def _fix_loss(training: Training) -> bool:
    """Do what ``check_loss`` asks for: remove what was added to the loss or its targets, if there is anything."""
    fault = training.recipe.fault
    if training.loss_fixed or fault is None or fault.kind not in ("push", "target"):
        return False
    training.loss_fixed = True
    return True


OWNER_ACTIONS: dict[str, Callable[[Training], bool]] = {"normalize_input": _fix_inputs, "check_loss": _fix_loss}
"""Remedies that only the owner of a training can apply; False where it was not done, so that the next one is tried.

Inputs are restored at the first request, whether they are wrong or not; a loss without a fault is left as it is.
"""


@dataclass(frozen=True, slots=True)
class TreatedTraining:
    """The result of a training.

    ``extra`` is the number of steps after its end until it was near its twin, None if it never was; ``remedies`` are
    (step, action, layer).
    """

    score: float
    extra: int | None
    remedies: tuple[tuple[int, str, str], ...]


def is_near(score: float, twin: float) -> bool:
    """Return whether a final metric is within ``NEAR`` of the twin's; NaN is not."""
    return score >= twin - NEAR * abs(twin)


def train(
    recipe: Recipe, seed: int, arm: Arm, twin: float, *, draw: int = 0, owner: Collection[str] = tuple(OWNER_ACTIONS)
) -> TreatedTraining:
    """Train once, answering alerts by ``arm``; ``twin`` is the twin's final metric.

    ``draw`` seeds the random arm; ``owner`` names the actions that the owner takes. Detection runs in this process and
    is waited for at each step, so that an alert arrives one step later.
    """
    torch.manual_seed(seed)
    training = Training(recipe, seed)
    training.warm_up()
    handler = relumine.remedies.apply(
        training.model,
        training.optimizer,
        custom_actions={action: _custom_action(training, OWNER_ACTIONS[action]) for action in owner},
        checkpoint_every=CHECKPOINT_EVERY,
    )
    layers: list[str] = []
    on_alert: Callable[[Alert], object] = handler
    if arm == "random":
        chance = random.Random(f"{recipe.name} {seed} {draw}")
        on_alert = _random_remedies(handler, chance, layers, owner)
    with _isolated_sdk():
        score = _run_watched(training, run_id_of(recipe, seed), on_alert, layers)
        handler.stop()
        extra = _steps_until_near(training, score, twin, int(EXTRA_SHARE * recipe.steps))
    remedies = tuple((entry.step, entry.action, entry.layer or "") for entry in handler.log if entry.action is not None)
    return TreatedTraining(score, extra, remedies)


def _run_watched(training: Training, run_id: str, on_alert: Callable[[Alert], object], layers: list[str]) -> float:
    """Make all steps under the SDK, keeping the names of its layers in ``layers``; return the final metric."""
    monitor = relumine.watch(
        training.model, training.optimizer, run_id=run_id, start_step=0, mode="local", on_alert=on_alert
    )
    for loss in training.steps():
        layers[:] = sorted(monitor.coverage())
        monitor.log(loss=loss)
        monitor.flush()
    score = training.score()
    monitor.close(timeout=60)
    return score


def _random_remedies(
    handler: Callable[[Alert], object], chance: random.Random, layers: Sequence[str], owner: Collection[str]
) -> Callable[[Alert], object]:
    """Return a callback with the handler's moments, budget and cooldown, but random remedies, values and layers."""

    def on_alert(alert: Alert) -> object:
        rate = (alert.evidence.get("learning_rate") or {}).get("now")
        values = {
            "lower_learning_rate": None if rate is None else rate * 10 ** chance.uniform(-2, 0),
            "replace_relu_": chance.uniform(0.01, 0.3),
        }
        remedies = [
            Remedy(action=action, function=action, code="", parameter=None, value=values.get(action), reason="random")
            for action in (*ACTIONS, *owner)
        ]
        chance.shuffle(remedies)
        return handler(alert.model_copy(update={"remedies": remedies, "layer": chance.choice(layers)}))

    return on_alert


def _custom_action(training: Training, fix: Callable[[Training], bool]) -> Callable[[Alert, Remedy], bool]:
    return lambda _alert, _remedy: fix(training)


def _steps_until_near(training: Training, score: float, twin: float, limit: int) -> int | None:
    extra = 0
    while not is_near(score, twin):
        if extra >= limit:
            return None
        training.continue_for(EXTRA_INTERVAL)
        extra += EXTRA_INTERVAL
        score = training.score()
    return extra


@contextlib.contextmanager
def _isolated_sdk() -> Iterator[None]:
    """Keep the SDK's files in a temporary folder, and discard its log lines."""
    previous = os.environ.get("RELUMINE_DIR")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        os.environ["RELUMINE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("RELUMINE_DIR")
            if previous is not None:
                os.environ["RELUMINE_DIR"] = previous
