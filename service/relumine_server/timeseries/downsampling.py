"""Downsampling of a series to fewer points, its extremes kept. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from relumine.schemas.record_table import Array

SeriesColumns = dict[str, Array]


class Downsampled(NamedTuple):
    """The series of a layer in points, ordered by step; arrays of shape (points,).

    A point is one record, or the ``weight`` records of a chunk or bucket of which only the minimum, the maximum and the
    last value of each statistic are known. ``step`` is its last step.
    """

    weight: Array
    step: Array
    min: SeriesColumns
    max: SeriesColumns
    last: SeriesColumns


def downsample(series: Downsampled, points: int) -> Downsampled:
    """Return at most ``points`` points, each of about as many records as any other."""
    if series.step.size <= points:
        return series
    records_before = np.cumsum(series.weight) - series.weight
    total = int(series.weight.sum())
    starts = np.flatnonzero(np.diff(records_before * points // total, prepend=-1))
    ends = np.append(starts[1:], series.step.size) - 1
    return Downsampled(
        weight=np.add.reduceat(series.weight, starts),
        step=series.step[ends],
        min={name: np.fmin.reduceat(values, starts) for name, values in series.min.items()},
        max={name: np.fmax.reduceat(values, starts) for name, values in series.max.items()},
        last={name: _last_of_buckets(values, starts) for name, values in series.last.items()},
    )


def _last_of_buckets(values: Array, starts: Array) -> Array:
    """Return the last value of each bucket that is not NaN; NaN where all are."""
    indices = np.where(np.isnan(values), -1, np.arange(values.size))
    newest = np.maximum.reduceat(indices, starts)
    is_measured = newest >= starts
    return np.where(is_measured, values[np.where(is_measured, newest, 0)], np.nan)


def to_ints(steps: Array) -> list[int]:
    """Return steps as Python integers."""
    integers: list[int] = steps.astype(np.int64).tolist()
    return integers


def to_json_numbers(values: Array) -> list[float | None]:
    """Return values as JSON has them: null for NaN and infinity."""
    numbers: list[float] = values.tolist()
    if bool(np.isfinite(values).all()):
        return list(numbers)
    return [number if math.isfinite(number) else None for number in numbers]


def last_value_at(steps: Array, points: Sequence[tuple[int, float]]) -> Array:
    """Return the value logged last at or before each step, NaN before the first; ``points`` are (step, value)."""
    logged_steps = np.array([step for step, _ in points])
    values = np.array([value for _, value in points])
    indices = np.searchsorted(logged_steps, steps, side="right") - 1
    return np.where(indices >= 0, values[np.maximum(indices, 0)], np.nan)
