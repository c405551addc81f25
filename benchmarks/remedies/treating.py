"""One dying training of the corpus again, with somebody who acts on its alerts."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "detection"))

from recipe import Recipe
from training import Training, run_id_of

import relumine
from relumine.remedies._doing import ACTIONS
from relumine.views import Alert, Remedy

Arm: TypeAlias = Literal["random", "recommended"]

KEEP_EVERY = 20
"""Steps between copies."""
NEAR = 0.05
"""Of the twin's final metric: within it, a training is as good as healthy."""
LONGER, PIECE = 0.5, 25
"""Part of the recipe's steps that a training may go on afterwards, and after how many of them it is looked at."""


def _mend_inputs(training: Training) -> bool:
    """What ``normalize_input`` asks for: the owner of the data sees to it that inputs are as they were."""
    before, training.mended = training.mended, True
    return not before


def _mend_loss(training: Training) -> bool:
    """What ``check_loss`` asks for: whatever was added to the loss or its targets is taken out, if there is any."""
    fault = training.recipe.fault
    if training.loss_mended or fault is None or fault.kind not in ("push", "target"):
        return False
    training.loss_mended = True
    return True


OWNER: dict[str, Callable[[Training], bool]] = {"normalize_input": _mend_inputs, "check_loss": _mend_loss}
"""What only the owner of a training can do, and how; False where it was not done, so that the next remedy has its turn.

Inputs are set right when that is asked first, wrong or not; a loss in which nothing is found is left to the others.
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a training ended. ``extra`` steps until it was near its twin, None if it never was; ``did`` by its step."""

    score: float
    extra: int | None
    did: tuple[tuple[int, str, str], ...]


def near(score: float, twin: float) -> bool:
    """Whether a final metric is within ``NEAR`` of the twin's; NaN is not."""
    return score >= twin - NEAR * abs(twin)


def train(
    recipe: Recipe, seed: int, arm: Arm, twin: float, draw: int = 0, owner: Collection[str] = tuple(OWNER)
) -> Ended:
    """Train once, answering alerts by ``arm``; ``draw`` chooses the chance of the random one.

    ``owner`` names what is asked of the training's owner and done.

    Detection runs in this process and is waited for at each step, so that an alert is heard one step later.
    """
    torch.manual_seed(seed)
    training = Training(recipe, seed)
    training.warm_up()
    treat = relumine.remedies.apply(
        training.model,
        training.optimizer,
        own={action: _asked(training, OWNER[action]) for action in owner},
        keep_every=KEEP_EVERY,
    )
    chance = random.Random(f"{recipe.name} {seed} {draw}")
    layers: list[str] = []
    told = {"random": _at_random(treat, chance, layers, owner), "recommended": treat}[arm]
    with _quietly():
        monitor = relumine.watch(
            training.model,
            training.optimizer,
            run_id=run_id_of(recipe, seed),
            start_step=0,
            mode="local",
            on_alert=told,
        )
        for loss in training.steps():
            layers[:] = sorted(monitor.coverage())
            monitor.log(loss=loss)
            monitor.flush()
        score = training.score()
        monitor.close(timeout=60)
        treat.stop()
        extra = _until_near(training, score, twin, int(LONGER * recipe.steps))
    did = tuple((done.step, done.action, done.layer or "") for done in treat.log if done.action is not None)
    return Ended(score, extra, did)


def _at_random(
    treat: Callable[[Alert], object], chance: random.Random, layers: Sequence[str], owner: Collection[str]
) -> Callable[[Alert], object]:
    """The same moments, budget and patience, but remedies, numbers and layers by chance."""

    def answer(alert: Alert) -> object:
        rate = (alert.evidence.get("learning_rate") or {}).get("now")
        values = {
            "lower_learning_rate": None if rate is None else rate * 10 ** chance.uniform(-2, 0),
            "replace_relu": chance.uniform(0.01, 0.3),
        }
        drawn = [
            Remedy(action=one, parameter=None, value=values.get(one), reason="by chance") for one in (*ACTIONS, *owner)
        ]
        chance.shuffle(drawn)
        return treat(alert.model_copy(update={"remedies": drawn, "layer": chance.choice(layers)}))

    return answer


def _asked(training: Training, mend: Callable[[Training], bool]) -> Callable[[Alert, Remedy], bool]:
    return lambda _alert, _remedy: mend(training)


def _until_near(training: Training, score: float, twin: float, most: int) -> int | None:
    extra = 0
    while not near(score, twin):
        if extra >= most:
            return None
        training.longer(PIECE)
        extra += PIECE
        score = training.score()
    return extra


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The SDK's files in a folder that goes away, and its lines nowhere."""
    before = os.environ.get("RELUMINE_DIR")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        os.environ["RELUMINE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("RELUMINE_DIR")
            if before is not None:
                os.environ["RELUMINE_DIR"] = before
