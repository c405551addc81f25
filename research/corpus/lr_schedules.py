"""Learning rate schedules, as factors of a recipe's own rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from research.corpus.recipe import Recipe


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Return the schedule's factor at this step, with faults that resume or restart it wrongly."""
    planned = SCHEDULES[recipe.schedule.kind]
    growth = 1.0
    for fault in recipe.faults:
        if fault.kind == "resume" and fault.is_active(step):
            return fault.amount * planned(step - fault.start, recipe.schedule.period, recipe.steps)
        if fault.kind == "growing":
            growth = float(fault.amount ** (step // recipe.schedule.period))
    return growth * planned(step, recipe.schedule.period, recipe.steps)


def _half_cosine(part: float) -> float:
    """Return a value that falls from 1 at 0 to 0 at 1."""
    return 0.5 + 0.5 * math.cos(math.pi * min(max(part, 0.0), 1.0))


def _cycle(step: int, period: int) -> float:
    half = 2 * (step % period) / period
    rises = half <= 1
    return 0.1 + 0.9 * (1 - _half_cosine(half) if rises else _half_cosine(half - 1))


def _one_cycle(step: int, steps: int) -> float:
    peak = 0.3 * steps
    if step < peak:
        return 0.04 + 0.96 * (1 - _half_cosine(step / peak))
    return _half_cosine((step - peak) / (steps - peak))


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": lambda _step, _period, _steps: 1.0,
    "warmup": lambda step, period, _steps: min(1.0, step / period),
    "cosine": lambda step, _period, steps: 0.02 + 0.98 * _half_cosine(step / steps),
    "cyclic": lambda step, period, _steps: _cycle(step, period),
    "onecycle": lambda step, _period, steps: _one_cycle(step, steps),
    "restarts": lambda step, period, _steps: 0.02 + 0.98 * _half_cosine(step % period / period),
    "stairs": lambda step, period, _steps: float(0.3 ** (step // period)),
}
"""Factors by kind, as functions of (step, period, steps of the whole training)."""
