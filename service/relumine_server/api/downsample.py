"""Fewer points of a series with its extremes kept. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relumine.table import Array
from relumine_server.storage.series import Spread


def reduced(spread: Spread, points: int) -> Spread:
    """At most ``points`` pieces, each standing for about as many records as any other."""
    before = np.cumsum(spread.weight) - spread.weight
    total = int(spread.weight.sum())
    if spread.step.size <= points:
        return spread
    starts = np.flatnonzero(np.diff(before * points // total, prepend=-1))
    ends = np.append(starts[1:], spread.step.size) - 1
    return Spread(
        np.add.reduceat(spread.weight, starts),
        spread.step[ends],
        {name: np.fmin.reduceat(values, starts) for name, values in spread.least.items()},
        {name: np.fmax.reduceat(values, starts) for name, values in spread.greatest.items()},
        {name: _last(values, starts) for name, values in spread.latest.items()},
    )


def _last(values: Array, starts: Array) -> Array:
    """The last known value of each bucket; NaN where there is none."""
    places = np.where(np.isnan(values), -1, np.arange(values.size))
    newest = np.maximum.reduceat(places, starts)
    own = newest >= starts
    return np.where(own, values[np.where(own, newest, 0)], np.nan)


def whole(values: Array) -> list[int]:
    """Steps as integers."""
    found: list[int] = values.astype(np.int64).tolist()
    return found


def listed(values: Array) -> list[float | None]:
    """Numbers as JSON knows them: what is not finite is null."""
    numbers: list[float] = values.tolist()
    if bool(np.isfinite(values).all()):
        return list(numbers)
    return [number if math.isfinite(number) else None for number in numbers]


def nearest(at: Array, points: Sequence[tuple[int, float]]) -> Array:
    """For every step of ``at`` the value logged last at or before it; NaN before the first."""
    steps_known = np.array([step for step, _ in points])
    values = np.array([value for _, value in points])
    place = np.searchsorted(steps_known, at, side="right") - 1
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


def every_name(known: Sequence[str], asked: str) -> list[str]:
    """The names in a comma-separated list. Raises KeyError with the first that is not known."""
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise KeyError(name)
    return list(dict.fromkeys(names))
