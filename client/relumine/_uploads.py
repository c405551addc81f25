"""Builds uploads: which samples one record merges, what travels beside them, and the bytes of it all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from relumine._cost import Cost
from relumine._ledger import Ledger
from relumine._sample import Logged, Sample, number_of
from relumine.packed import from_json, pack
from relumine.schedule import ByteBudget
from relumine.table import BITS, RecordTable
from relumine.wire import Coverage, LayerInfo, RunInfo

MAX_BYTES, MIN_BYTES = 4 * 2**20, 2**14
"""Of an upload: what proxies and servers take, and the least that is tried where they take less."""

HALF = frozenset({"var", "max", "update_shift"})
"""Columns of which three decimals are enough."""

SEQ_STRIDE = 1024
"""Uploads are numbered so that one which turns out too large can be sent in parts, in order, later."""

Outcome: TypeAlias = Literal["finished", "failed"]


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends: the run, this process's session of it, and how many processes train together."""

    run: RunInfo
    session: str
    world_size: int


class Outgoing(NamedTuple):
    """An encoded upload, how many looks and records it holds, and which descriptions it carries.

    Its number is greater than ``after``, and so are those of its parts.
    """

    body: bytes
    looks: int
    records: int
    after: int
    layers: tuple[LayerInfo, ...]
    coverage: Coverage | None


class Uploads:
    """Numbers uploads, remembers what was described, and merges sampled steps where bytes would run over."""

    def __init__(self, source: Source, cost: Cost) -> None:
        self.ledger = Ledger()
        self.count = 0
        self.bytes = 0
        self.merged = 0
        """Sampled steps that share a record with others."""
        self._source, self._cost = source, cost
        self._budget = ByteBudget()
        self._max_bytes = MAX_BYTES
        self._began = time.monotonic()
        self._layers: dict[int, LayerInfo] = {}
        self._unsent: dict[int, LayerInfo] = {}
        self._coverage: Coverage | None = None

    @property
    def session(self) -> str:
        """The session these uploads belong to."""
        return self._source.session

    def describe(self, layers: Sequence[LayerInfo], coverage: Coverage) -> None:
        """Take in how the model is seen; what is new or changed travels until an upload with it was acknowledged."""
        for layer in layers:
            if self._layers.get(layer.layer_id) != layer:
                self._layers[layer.layer_id] = self._unsent[layer.layer_id] = layer
        self._coverage = coverage

    def acknowledged(self, upload: Outgoing) -> None:
        """Stop repeating what an answered upload described."""
        for layer in upload.layers:
            if self._unsent.get(layer.layer_id) == layer:
                del self._unsent[layer.layer_id]
        if self._coverage is upload.coverage:
            self._coverage = None

    def build(
        self, items: Sequence[Sample | Logged], dropped: Mapping[str, int], *, closing: Outcome | None, now: bool
    ) -> list[Outgoing]:
        """The next uploads; none where there is nothing to say yet. ``now``: send what is merged so far.

        What this takes counts as cost: the training waits for the interpreter meanwhile.
        """
        began = time.thread_time()
        records = _table(self._records(items, now=now or closing is not None))
        numbers = [number for item in items if isinstance(item, Logged) and (number := number_of(item)) is not None]
        if not len(records) and not numbers and not (closing and (self.count or self._unsent)):
            return []
        parts = list(_parts(records, self._max_bytes))
        built = []
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            upload = self._upload(part, numbers if last else [], dropped, closing if last else None)
            built.append(self._encoded(upload, after=upload["seq"] - SEQ_STRIDE))
        self._cost.spent_s += time.thread_time() - began
        return built

    def _upload(
        self,
        records: RecordTable,
        numbers: Sequence[dict[str, Any]],
        dropped: Mapping[str, int],
        closing: Outcome | None,
    ) -> dict[str, Any]:
        self.count += 1
        return {
            "run": self._source.run.model_dump(mode="json"),
            "session": self._source.session,
            "world_size": self._source.world_size,
            "seq": self.count * SEQ_STRIDE,
            "dropped": dict(dropped),
            "layers": [self._unsent[layer_id].model_dump(mode="json") for layer_id in sorted(self._unsent)],
            "coverage": self._coverage.model_dump(mode="json") if self._coverage else None,
            "records": records,
            "numbers": numbers,
            "closing": closing,
        }

    def _encoded(self, upload: dict[str, Any], *, after: int) -> Outgoing:
        table: RecordTable = upload["records"]
        sent = upload | {"records": pack(table, HALF)}
        body = json.dumps(sent, separators=(",", ":"), allow_nan=False).encode()
        self.bytes += len(body)
        self._budget.spend(len(body))
        of_run = table.scalars["layer_id"] == 0
        looks = int(table.scalars["sampled_steps"][of_run].sum())
        return Outgoing(body, looks, len(table), after, tuple(self._unsent.values()), self._coverage)

    def halved(self, upload: Outgoing) -> list[Outgoing]:
        """An upload that was too large in two, numbered between the last one and itself; none where it cannot be.

        What comes after is built smaller from the beginning.
        """
        self._max_bytes = max(MIN_BYTES, min(self._max_bytes, len(upload.body) // 2))
        whole = json.loads(upload.body)
        records, seq = from_json(whole["records"]), (upload.after + whole["seq"]) // 2
        if len(records) < 2 or seq == upload.after:
            return []
        middle = len(records) // 2
        first = whole | {"seq": seq, "records": records[:middle], "numbers": [], "closing": None}
        second = whole | {"records": records[middle:]}
        return [self._encoded(first, after=upload.after), self._encoded(second, after=seq)]

    def _records(self, items: Sequence[Sample | Logged], *, now: bool) -> list[dict[str, Any]]:
        """One record per sampled step while the bytes last, else as many steps in one as it takes."""
        records: list[dict[str, Any]] = []
        elapsed, planned = time.monotonic() - self._began, 0
        for item in items:
            if not isinstance(item, Sample):
                continue
            self.ledger.add(item)
            planned += self.ledger.bytes_per_sample
            if self._budget.allows(elapsed, planned=planned):
                records += self._emit()
        if now:
            records += self._emit()
        return records

    def _emit(self) -> list[dict[str, Any]]:
        if self.ledger.merged > 1:
            self.merged += self.ledger.merged
        return self.ledger.emit()


def _table(records: Sequence[Mapping[str, Any]]) -> RecordTable:
    """Records as the ledger gives them, scalars and unit columns by name, in one table."""
    return RecordTable.build(records, [{n: own[n] for n in own if n in BITS} for own in records]).in_order()


def _parts(records: RecordTable, max_bytes: int) -> Iterator[RecordTable]:
    """Records in groups of about ``max_bytes``; at least one group."""
    columns = np.array([int(bits).bit_count() for bits in records.present])
    ends = np.cumsum(100 + (5 * columns * records.units)) // max_bytes
    for group in np.unique(ends):
        yield records.take(np.flatnonzero(ends == group))
    if not len(records):
        yield records
