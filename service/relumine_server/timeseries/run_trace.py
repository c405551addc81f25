"""The trace of a run for lists of runs: the lost share of its worst layer, and its loss, in a few points. Pure.

Every upload extends it, so that no list has to read the records of a hundred runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from relumine.schemas.record_table import Array
from relumine.schemas.upload import Upload
from relumine_server.detection.findings import Reading
from relumine_server.timeseries import downsampling
from relumine_server.timeseries.downsampling import Downsampled

POINTS = 48
"""Points that a list shows of a run, each of about as many sampled steps as any other."""
CAPACITY = 64
"""Points that are stored; one more, and they are joined to ``POINTS``, so that it is not done at every upload."""

_POINT = np.dtype([("step", "<i8"), ("weight", "<u4"), ("lost_fraction", "<f4"), ("loss", "<f4")])


def worst_by_step(readings: Iterable[Reading]) -> dict[int, float]:
    """Return the largest lost share of any layer at each step: of units that are dying, dead or born dead."""
    worst: dict[int, float] = {}
    for reading in readings:
        lost = reading.dying_fraction + reading.dead_fraction + reading.born_dead_fraction
        worst[reading.step] = max(worst.get(reading.step, 0.0), min(lost, 1.0))
    return worst


def extended(stored: bytes | None, upload: Upload, lost: Mapping[int, float], *, begins_session: bool) -> bytes | None:
    """Return the trace with the steps of an upload. The first steps of a session replace those that they repeat."""
    if not lost:
        return stored
    points = decode(stored)
    steps = np.array(sorted(lost))
    added = np.zeros(steps.size, _POINT)
    added["step"] = steps
    added["weight"] = 1
    added["lost_fraction"] = [lost[step] for step in steps.tolist()]
    added["loss"] = _losses(upload, steps)
    if begins_session:
        points = points[points["step"] < steps[0]]
    joined = np.concatenate([points, added])
    joined = joined[np.argsort(joined["step"], kind="stable")]
    return (joined if joined.size <= CAPACITY else _reduced(joined)).tobytes()


def decode(stored: bytes | None) -> Array:
    """Return the points of a stored trace, none where it is damaged: columns step, weight, lost_fraction and loss."""
    if stored is None or len(stored) % _POINT.itemsize:
        return np.zeros(0, _POINT)
    return np.frombuffer(stored, _POINT)


def points_to_draw(stored: bytes | None) -> Array:
    """Return at most ``POINTS`` points of a stored trace."""
    points = decode(stored)
    return points if points.size <= POINTS else _reduced(points)


def _losses(upload: Upload, steps: Array) -> Array:
    """Return the loss at or before each step, as far as the upload has it: that of the records, or the logged one."""
    scalars = upload.records.scalars
    is_measured = (scalars["layer_id"] == 0) & ~np.isnan(scalars["loss"])
    points: Sequence[tuple[int, float]] = list(
        zip(scalars["step"][is_measured].tolist(), scalars["loss"][is_measured].tolist(), strict=True)
    )
    points = points or sorted((metric.step, metric.value) for metric in upload.metrics if metric.name == "loss")
    return downsampling.last_value_at(steps, points) if points else np.full(steps.size, np.nan)


def _reduced(points: Array) -> Array:
    """Return ``POINTS`` points, each with the largest lost share and the last loss of those it stands for."""
    series = Downsampled(
        weight=points["weight"].astype(np.int64),
        step=points["step"],
        min={},
        max={"lost_fraction": points["lost_fraction"]},
        last={"loss": points["loss"]},
    )
    reduced = downsampling.downsample(series, POINTS)
    joined = np.zeros(reduced.step.size, _POINT)
    joined["step"] = reduced.step
    joined["weight"] = reduced.weight
    joined["lost_fraction"] = reduced.max["lost_fraction"]
    joined["loss"] = reduced.last["loss"]
    return joined
