"""Consecutive records that can be evaluated in one array: rounds of the same distinct layers, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from relumine.schemas.record_table import Row
from relumine_server.detection.batch import LayerRecord
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState

MAX_ROUNDS = 128
MAX_UNITS = 2**14
"""Units of all rounds together: beyond it one more round gains nothing, and takes memory."""


@dataclass(slots=True)
class Stretch:
    """Groups of records of distinct layers, and of each group those that can be evaluated: the same layers in each.

    Nothing that is decided about one group changes how the units of a later one are evaluated.
    """

    groups: list[list[Row]] = field(default_factory=list)
    rounds: list[list[LayerRecord]] = field(default_factory=list)
    is_full: bool = False

    def takes(self, group: Sequence[Row], evaluated: Sequence[Row]) -> bool:
        """Return whether a group may follow the last one."""
        if self.is_full or group[0].marks or len(evaluated) != len(self.rounds[0]):
            return False
        first = self.rounds[0]
        return all(row.layer_id == layer.record.layer_id for row, layer in zip(evaluated, first, strict=True))

    def append(self, state: DetectorState, group: list[Row], evaluated: Sequence[Row], policy: Policy) -> None:
        """Add a group. It is the last one if it has a mark, or if a layer ends its warm-up with it."""
        number = len(self.rounds)
        layers = []
        for record in evaluated:
            memory = state.layers[record.layer_id]
            layers.append(LayerRecord(memory, record, memory.records + number))
        self.groups.append(group)
        self.rounds.append(layers)
        units = sum(layer.memory.tracked_units for layer in layers)
        is_large = number + 2 > MAX_ROUNDS or (number + 2) * units > MAX_UNITS
        ends_warmup = any(layer.earlier_records + 1 == policy.warmup_records for layer in layers)
        self.is_full = is_large or ends_warmup or group[0].marks > 0


def stretches(state: DetectorState, records: Sequence[Row], policy: Policy) -> Iterator[Stretch]:
    """Yield the records in their order. ``state`` is to be advanced over each stretch before the next one is taken."""
    stretch = Stretch()
    for group in _groups_of_distinct_layers(records):
        evaluated = [record for record in group if _can_be_evaluated(state, record)]
        if stretch.groups and not stretch.takes(group, evaluated):
            yield stretch
            stretch = Stretch()
        stretch.append(state, group, evaluated, policy)
    if stretch.groups:
        yield stretch


def _groups_of_distinct_layers(records: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield consecutive records in which no layer occurs twice, so that their units can be evaluated together.

    A record with a mark is a group by itself, as it changes all layers.
    """
    group: list[Row] = []
    layer_ids: set[int] = set()
    for record in records:
        if group and (record.layer_id in layer_ids or record.marks):
            yield group
            group = []
            layer_ids = set()
        group.append(record)
        layer_ids.add(record.layer_id)
        if record.marks:
            yield group
            group = []
            layer_ids = set()
    if group:
        yield group


def _can_be_evaluated(state: DetectorState, record: Row) -> bool:
    """Return whether a record is finite, of the length of its layer, and of an activation that can die."""
    memory = state.layers.get(record.layer_id)
    if memory is None or record.nonfinite or not memory.info.can_die or not record.n_examples:
        return False
    return record.has("active") and record.units == memory.info.units
