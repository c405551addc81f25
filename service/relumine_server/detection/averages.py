"""Exponential moving averages over optimizer steps, counted in the SDK's sampling interval.

A trend is the distance of a value from its own average. An average moves with the steps that have passed and not with
the number of records, so dense sampling after an event does not pull it along.
"""

from __future__ import annotations

import math

BASE_INTERVAL_STEPS = 10.0
"""Sampling interval of the SDK. Sampled steps that lie closer count for less than one interval, those that lie farther
apart for one: nothing was measured in between."""
SMOOTHING_INTERVALS = 1.5
"""Time constant that only removes noise."""
SHORT_INTERVALS = 8.0
"""Time constant that follows a drift."""
LONG_INTERVALS = 30.0
"""Time constant that remembers what is usual."""


def elapsed_intervals(gap_steps: float) -> float:
    """Return the sampling intervals that a gap counts for, from 0 to 1.

    It is 1 for NaN, before the first sampled step, and 0 for a step before the previous one.
    """
    if math.isnan(gap_steps):
        return 1.0
    return min(max(gap_steps / BASE_INTERVAL_STEPS, 0.0), 1.0)


def moving_average(
    average: float, value: float, intervals: float, time_constant: float, age: float = math.inf
) -> float:
    """Return ``average`` moved towards ``value``, ``intervals`` after it was last moved.

    While the average is younger (``age``, in intervals) than ``time_constant`` it is a plain mean. NaN means unknown:
    the result is then the other of the two.
    """
    if math.isnan(average):
        return value
    if math.isnan(value):
        return average
    mean_weight = intervals / age if 0.0 < age < time_constant else 0.0
    weight = max(1 - math.exp(-intervals / time_constant), mean_weight)
    return average + weight * (value - average)
