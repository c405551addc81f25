"""Fewer points of a series with its extremes kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from relumine.views import Extremes
from relumine_server.storage.packing import Array


def edges(length: int, points: int) -> Array:
    """Where each of at most ``points`` buckets of equal size begins (shape (buckets,))."""
    buckets = max(1, min(length, points))
    return np.unique((np.arange(buckets) * length) // buckets)


def extremes(values: Array, starts: Array) -> Extremes:
    """Last, least and greatest value of each bucket; null where a bucket holds none."""
    some = np.isfinite(values)
    low = np.minimum.reduceat(np.where(some, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(some, values, -np.inf), starts)
    return Extremes(last=listed(_last(values, starts)), min=listed(low), max=listed(high))


def last(values: Array, starts: Array) -> list[float | None]:
    """The last known value of each bucket."""
    return listed(_last(values, starts))


def greatest(values: Array, starts: Array) -> list[float | None]:
    """The greatest value of each bucket."""
    return listed(np.maximum.reduceat(np.where(np.isfinite(values), values, -np.inf), starts))


def steps(values: Array, starts: Array) -> list[int]:
    """The last step of each bucket."""
    ends = np.append(starts[1:], values.size) - 1
    return [int(step) for step in values[ends]]


def _last(values: Array, starts: Array) -> Array:
    """The last finite value of each bucket; NaN where there is none."""
    places = np.where(np.isfinite(values), np.arange(values.size), -1)
    newest = np.maximum.reduceat(places, starts)
    return np.where(newest >= 0, values[np.maximum(newest, 0)], np.nan)


def listed(values: Array) -> list[float | None]:
    """Numbers as JSON knows them: what is not finite is null."""
    return [float(value) if np.isfinite(value) else None for value in values]


def nearest(at: Array, points: Sequence[tuple[int, float]]) -> Array:
    """For every step of ``at`` the value logged last at or before it; NaN before the first."""
    steps_known = np.array([step for step, _ in points])
    values = np.array([value for _, value in points])
    place = np.searchsorted(steps_known, at, side="right") - 1
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


def column(columns: Mapping[str, Array], name: str) -> Array:
    """A column, or one of NaN where the series does not have it."""
    return columns.get(name, np.full(columns["step"].size, np.nan))


def every_name(known: Sequence[str], asked: str) -> list[str]:
    """The names in a comma-separated list. Raises KeyError with the first that is not known."""
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise KeyError(name)
    return list(dict.fromkeys(names))
