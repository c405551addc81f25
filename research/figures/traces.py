"""The detector's state of each layer after each sampled step, as columns to draw or to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from relumine.schemas.record_table import Row
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from research.corpus.run_store import Run
from research.scoring.alarms import Alarm
from research.scoring.published_rules import active_share

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
RARELY = 0.01
"""Active on a smaller share of a sampled step: inactive by SageMaker's rule."""


class TracePoint(NamedTuple):
    """A layer at one sampled step. Shares are of its units; ``headroom`` and ``bias`` in standard deviations of a unit.

    ``rarely_active`` is of this sampled step, ``never_active`` of all so far.
    """

    step: int
    risk: float
    dying: float
    headroom: float
    bias: float
    rate: float
    rarely_active: float
    never_active: float


@dataclass(frozen=True)
class Trace:
    """The points of one layer, and the findings about it and about the run."""

    points: Sequence[TracePoint]
    findings: Sequence[Finding]

    def column(self, name: str) -> Array:
        """Return one value over the points, shape (points,)."""
        return np.array([getattr(point, name) for point in self.points], float)


def traces(run: Run) -> dict[int, Trace]:
    """Return the trace of every layer that can die, by its id."""
    infos = run.infos()
    state = detection_state.describe(detection_state.empty(), infos)
    points: dict[int, list[TracePoint]] = {info.layer_id: [] for info in infos if info.can_die}
    was_active = {info.layer_id: np.zeros(info.units, bool) for info in infos}
    findings: list[Finding] = []
    for _step, group in groupby(run.records(), key=lambda record: record.step):
        records = list(group)
        records_before = {layer_id: memory.records for layer_id, memory in state.layers.items()}
        state, _readings, new_findings = detector.advance(state, records, Policy())
        findings += new_findings
        for record in records:
            layer_id = record.layer_id
            if layer_id in points and state.layers[layer_id].records > records_before[layer_id]:
                was_active[layer_id] |= record.arrays()["active"] > 0
                never_active = float(1 - was_active[layer_id].mean())
                points[layer_id].append(_point(state.layers[layer_id], record, never_active))
    by_layer = {}
    for layer_id, of_layer in points.items():
        of_layer_or_run = [finding for finding in findings if finding.layer_id in (0, layer_id)]
        by_layer[layer_id] = Trace(of_layer, of_layer_or_run)
    return by_layer


def _point(memory: detection_state.LayerMemory, record: Row, never_active: float) -> TracePoint:
    return TracePoint(
        step=record.step,
        risk=memory.risk,
        dying=memory.lost_fraction,
        headroom=memory.headroom,
        bias=memory.bias_sigma,
        rate=record.learning_rate or np.nan,
        rarely_active=float((active_share(record) < RARELY).mean()),
        never_active=never_active,
    )


def alarm_spans(alarms: Sequence[Alarm], layer_id: int, end: int) -> list[tuple[int, int]]:
    """Return the first and last step of each alarm of a layer; one that was never resolved lasts until ``end``."""
    return [(alarm.step, alarm.resolved or end) for alarm in alarms if alarm.layer_id == layer_id]
