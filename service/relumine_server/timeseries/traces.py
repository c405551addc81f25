"""Traces of layers: their downsampled series as JSON has them, for the heat map. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from relumine.schemas.record_table import Array
from relumine_server.timeseries import downsampling
from relumine_server.timeseries.downsampling import Downsampled

EXTREMES = ("dead_fraction", "born_dead_fraction", "dying_fraction")
"""Statistics of which a point shows the maximum."""
LAST = "active_rate"
"""The one of which it shows the last value."""
STATISTICS = (*EXTREMES, LAST)
KILL_RATIO = "kill_ratio"


def traces(series: Mapping[int, Downsampled], points: int) -> list[dict[str, Any]]:
    """Return the traces of layers with at most ``points`` points each, ordered by layer. A layer without any has none.

    Each has the fields of ``relumine.schemas.chart.Trace``; to make the ten thousand objects would cost more than their
    JSON. The numbers of all layers are converted at once, for the same reason.
    """
    by_layer = {
        layer_id: downsampling.downsample(of_layer, points)
        for layer_id, of_layer in sorted(series.items())
        if of_layer.step.size
    }
    if not by_layer:
        return []
    of_layers = by_layer.values()
    columns: dict[str, Any] = {"step": downsampling.to_ints(np.concatenate([part.step for part in of_layers]))}
    for name in EXTREMES:
        columns[name] = downsampling.to_json_numbers(np.concatenate([part.max[name] for part in of_layers]))
    columns[LAST] = downsampling.to_json_numbers(np.concatenate([part.last[LAST] for part in of_layers]))
    ends = list(accumulate(part.step.size for part in of_layers))
    cut = []
    for layer_id, start, end in zip(by_layer, [0, *ends[:-1]], ends, strict=True):
        cut.append({"layer_id": layer_id, **{name: column[start:end] for name, column in columns.items()}})
    return cut


def largest_between(series: Mapping[int, Downsampled], name: str, steps: Array) -> Array:
    """Return the largest value of a statistic in any layer from behind the step before each of ``steps`` up to it.

    ``steps`` ascend, shape (points,), as the result; NaN where no layer has a value.
    """
    largest = np.full(steps.size, np.nan)
    if not series:
        return largest
    points = np.searchsorted(steps, np.concatenate([of_layer.step for of_layer in series.values()]))
    values = np.concatenate([of_layer.max[name] for of_layer in series.values()])
    is_before_the_end = points < steps.size
    np.fmax.at(largest, points[is_before_the_end], values[is_before_the_end])
    return largest
