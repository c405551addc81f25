"""How learning rates go, as parts of a recipe's own rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from recipe import Recipe


def pace(recipe: Recipe, step: int) -> float:
    """The part of the recipe's rate at this step: the schedule's, unless it was resumed or restarted wrongly."""
    planned, grows = SCHEDULES[recipe.pace.kind], 1.0
    for fault in recipe.faults:
        if fault.kind == "resume" and fault.holds(step):
            return fault.amount * planned(step - fault.at, recipe.pace.period, recipe.steps)
        if fault.kind == "growing":
            grows = float(fault.amount ** (step // recipe.pace.period))
    return grows * planned(step, recipe.pace.period, recipe.steps)


def _fall(part: float) -> float:
    """Half a cosine, from 1 at 0 to 0 at 1."""
    return 0.5 + 0.5 * math.cos(math.pi * min(max(part, 0.0), 1.0))


def _cycle(step: int, period: int) -> float:
    half = 2 * (step % period) / period
    return 0.1 + 0.9 * (1 - _fall(half) if half <= 1 else _fall(half - 1))


def _one_cycle(step: int, steps: int) -> float:
    peak = 0.3 * steps
    return 0.04 + 0.96 * (1 - _fall(step / peak)) if step < peak else _fall((step - peak) / (steps - peak))


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": lambda _step, _period, _steps: 1.0,
    "warmup": lambda step, period, _steps: min(1.0, step / period),
    "cosine": lambda step, _period, steps: 0.02 + 0.98 * _fall(step / steps),
    "cyclic": lambda step, period, _steps: _cycle(step, period),
    "onecycle": lambda step, _period, steps: _one_cycle(step, steps),
    "restarts": lambda step, period, _steps: 0.02 + 0.98 * _fall(step % period / period),
    "stairs": lambda step, period, _steps: float(0.3 ** (step // period)),
}
"""By kind: the part of the rate at (step, period, steps of the whole training)."""
