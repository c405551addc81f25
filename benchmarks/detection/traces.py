"""What the detector knew of each layer after each look: the fold, look by look, as columns to draw or to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from alarms import Alarm
from rules import share_active
from runs import Run

from relumine.table import Row
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy

Array = np.ndarray[Any, np.dtype[Any]]
RARELY = 0.01
"""Active on a smaller share of a look: what SageMaker's rule calls inactive."""


class Look(NamedTuple):
    """A layer at one look. Shares are of its units; ``headroom`` and ``bias`` in standard deviations of a unit.

    ``rarely_active`` speaks of this look, ``never_active`` of all looks so far.
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
    """The looks at one layer, and what was found of it and of the run."""

    looks: Sequence[Look]
    findings: Sequence[Finding]

    def column(self, name: str) -> Array:
        """One number over the looks, shape (looks,)."""
        return np.array([getattr(look, name) for look in self.looks], float)


def traces(run: Run) -> dict[int, Trace]:
    """Every layer that can die, by its id."""
    state = detector.describe(detector.empty(), run.infos())
    looks: dict[int, list[Look]] = {info.layer_id: [] for info in run.infos() if info.can_die}
    active = {info.layer_id: np.zeros(info.units, bool) for info in run.infos()}
    findings: list[Finding] = []
    for _step, group in groupby(run.records(), key=lambda record: record.step):
        records = list(group)
        before = {layer_id: memory.records for layer_id, memory in state.layers.items()}
        state, _readings, found = onset.advance(state, records, Policy())
        findings += found
        for record in records:
            if record.layer_id in looks and state.layers[record.layer_id].records > before[record.layer_id]:
                active[record.layer_id] |= record.arrays()["active"] > 0
                memory = state.layers[record.layer_id]
                looks[record.layer_id].append(_look(memory, record, float(1 - active[record.layer_id].mean())))
    return {
        layer_id: Trace(own, [f for f in findings if f.layer_id in (0, layer_id)]) for layer_id, own in looks.items()
    }


def _look(memory: detector.LayerMemory, record: Row, never_active: float) -> Look:
    return Look(
        step=record.step,
        risk=memory.risk,
        dying=memory.lost,
        headroom=memory.headroom,
        bias=memory.bias_sigma,
        rate=record.learning_rate or np.nan,
        rarely_active=float((share_active(record) < RARELY).mean()),
        never_active=never_active,
    )


def spans(alarms: Sequence[Alarm], layer_id: int, end: int) -> list[tuple[int, int]]:
    """From when to when a rule spoke of a layer."""
    return [(alarm.step, alarm.closed or end) for alarm in alarms if alarm.layer_id == layer_id]
