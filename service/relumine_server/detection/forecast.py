"""When half of a layer will be dead at the present course, from how long it took in other trainings; or nothing.

A fit to observed times, not an extrapolation: lines through margins or lost shares foresaw deaths that never came, and
others far too late. The log of the steps that are left falls with the kill ratio and with the odds of the risk; its
scatter is that of the trainings the model was fitted on (``benchmarks/detection/fit_forecast.py``). The interval is
wide, because that is how well it is known: it holds the collapse four times in five, and a layer that never collapses
counts as missed. Where a collapse is not likely enough for that, nothing is said.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from relumine_server.detection.findings import Forecast
from relumine_server.detection.policy import Policy

HALF = 0.5


class Course(NamedTuple):
    """What a forecast reads of a layer: logs of the risk's odds, of the kill ratio (base 10) and of looks; headroom."""

    odds: float
    kill: float
    headroom: float
    looks: float


INTERCEPT_STEPS, STEPS = 3.29, Course(odds=-0.16, kill=-0.68, headroom=0.0, looks=0.0)
"""Log of the steps that are left."""
EARLY, LATE = -2.18, 1.92
"""Scatter of that log: what a twentieth of the times lies below, and above."""
INTERCEPT_CHANCE, CHANCE = 1.28, Course(odds=0.0, kill=1.76, headroom=-0.34, looks=0.47)
"""Log odds that the collapse comes at all."""


def course(risk: float, kill: float, headroom: float, records: float) -> Course:
    """The numbers of a layer after a look; ``kill`` as in ``risk.Signs``."""
    within = min(max(risk, 0.01), 0.99)
    known = 0.0 if math.isnan(headroom) else headroom
    return Course(math.log(within / (1 - within)), kill, known, math.log(max(records, 1.0)))


def chance(seen: Course) -> float:
    """Probability that half of the layer will be dead some day."""
    return 1 / (1 + math.exp(-_weighed(INTERCEPT_CHANCE, CHANCE, seen)))


def forecast(step: int, lost: float, seen: Course, policy: Policy) -> Forecast | None:
    """The step of the collapse and its interval; None where half is gone already, or a collapse is not likely."""
    if lost >= HALF or chance(seen) < policy.forecast_chance:
        return None
    left = _weighed(INTERCEPT_STEPS, STEPS, seen)
    near, usual, far = (math.exp(left + scatter) for scatter in (EARLY, 0.0, LATE))
    return Forecast(step + max(round(usual), 1), step + math.floor(near), step + math.ceil(far), 0.8, None)


def _weighed(intercept: float, weights: Course, seen: Course) -> float:
    return intercept + sum(weight * value for weight, value in zip(weights, seen, strict=True))
