"""When half of a layer will be dead at the present course, from the hazard that was observed; or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from relumine_server.detection.findings import Forecast
from relumine_server.detection.policy import Policy

NORMAL_80 = 1.2816  # two-sided 80 % of a normal distribution
HALF = 0.5


def forecast(trail: Sequence[tuple[float, float, float]], policy: Policy) -> Forecast | None:
    """Fit a constant hazard to the survivors of the present rise: log(1 - lost) is a line in steps.

    None where too few points show a course, where it does not stand out of its scatter, where half is
    gone already, or where the crossing lies too far beyond what was seen.
    """
    points = _rise(trail)
    if len(points) < policy.forecast_points or points[-1][1] >= HALF:
        return None
    hazard, error = _hazard(points)
    if hazard <= 0 or hazard < policy.forecast_t * error:
        return None
    now, seen = points[-1][0], points[-1][0] - points[0][0]
    left = math.log((1 - points[-1][1]) / HALF)
    ahead = left / hazard
    if ahead > policy.forecast_horizon * seen:
        return None
    soon = left / (hazard + NORMAL_80 * error)
    late = left / max(hazard - NORMAL_80 * error, hazard / 10)
    return Forecast(round(now + ahead), math.floor(now + soon), math.ceil(now + late), 0.8, None)


def _rise(trail: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """The latest stretch on which the lost share stood above nothing, as (step, share)."""
    points: list[tuple[float, float]] = []
    for step, lost, _bias in reversed(trail):
        points.append((step, lost))
        if lost <= 0:
            break
    return points[::-1]


def _hazard(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Hazard per step and its standard error, by least squares on the log of the survivors."""
    steps = [step for step, _ in points]
    logs = [-math.log(max(1 - lost, 1e-9)) for _, lost in points]
    mean_x, mean_y = sum(steps) / len(steps), sum(logs) / len(logs)
    spread = sum((x - mean_x) ** 2 for x in steps)
    if spread <= 0:
        return 0.0, math.inf
    hazard = sum((x - mean_x) * (y - mean_y) for x, y in zip(steps, logs, strict=True)) / spread
    rest = sum((y - mean_y - hazard * (x - mean_x)) ** 2 for x, y in zip(steps, logs, strict=True))
    return hazard, math.sqrt(rest / (len(points) - 2) / spread)
