"""What a server must hold of a run, computed from the uploads that it answered, for the test of storage."""

from __future__ import annotations

from typing import Any, NamedTuple

UNITS = {0: 0, 1: 4, 2: 2}
LAYERS = [{"layer_id": layer, "name": f"act{layer}", "units": UNITS[layer]} for layer in (1, 2)]
Record = dict[str, Any]
Key = tuple[str, int, int]  # session, rank, seq


class SentUpload(NamedTuple):
    """An upload, derived from these values. Its steps follow from its seq, so that late ones fit between others."""

    session: str
    rank: int
    seq: int
    first_step: int
    steps: int
    seed: int
    final_status: str | None = None

    @property
    def key(self) -> Key:
        return self.session, self.rank, self.seq

    def records(self) -> list[Record]:
        """Records of two layers in three at each step, another two each time."""
        start = self.first_step + 20 * self.seq
        steps = range(start, start + 2 * self.steps, 2)
        return [
            _record(layer, step, self.seed) for step in steps for layer in UNITS if (step // 2 + layer + self.seed) % 3
        ]

    def metrics(self) -> list[dict[str, Any]]:
        """Two metrics or none; the second is at the first step of the next upload."""
        steps = (20 * self.seq, 20 * self.seq + 20) if self.seed % 2 else ()
        return [{"step": step, "name": "acc", "value": self.seed + self.rank + step / 8} for step in steps]

    def body(self) -> dict[str, Any]:
        return {
            "run": {"id": "r1"},
            "session": self.session,
            "rank": self.rank,
            "seq": self.seq,
            "layers": LAYERS,
            "records": self.records(),
            "metrics": self.metrics(),
            "final_status": self.final_status,
        }


def _record(layer: int, step: int, seed: int) -> Record:
    """A record in which each statistic may be missing; a layer sometimes has no data, which opens an alert."""
    remainder = (7 * step + 3 * layer + seed) % 11
    scalars = {"weight_norm": remainder / 4, "loss": -(2.0**remainder), "learning_rate": 0.1}
    is_missing = {"weight_norm": remainder % 3 == 0, "loss": layer > 0, "learning_rate": seed % 3 == 0}
    record = {name: value for name, value in scalars.items() if not is_missing[name]}
    if layer and remainder != 10:
        record |= {"n_examples": 8, "active": [1 + (remainder + unit) % 7 for unit in range(UNITS[layer])]}
    return {"layer_id": layer, "first_step": step - remainder % 2, "step": step, "n_examples": 0, **record}


class UnitRow(NamedTuple):
    """A row of per-unit statistics: its ordinal, and the records of its layers."""

    ordinal: int
    records: dict[int, Record]


class StorageModel:
    """What a server must hold of a run."""

    def __init__(self) -> None:
        self.uploads: dict[Key, tuple[bool, bool]] = {}  # late, processed
        self.sessions: list[str] = []  # in the order of their first upload
        self.newest = ""  # of those that the detector has processed
        self.last_seqs: dict[str, int] = {}  # of processed uploads, by session
        self.first_steps: dict[str, int] = {}  # by session
        self.records: list[tuple[SentUpload, Record]] = []
        self.metrics: dict[Key, list[dict[str, Any]]] = {}
        self.unit_rows: dict[tuple[int, str, int, int], UnitRow] = {}
        self.unit_rows_written = 0  # also those thinned since

    def add(self, upload: SentUpload) -> None:
        if upload.session not in self.sessions:
            self.sessions.append(upload.session)
        is_processed = upload.rank == 0 and upload.seq > self.last_seqs.get(upload.session, 0)
        is_latest = is_processed and self._number(upload.session) >= self._number(self.newest)
        if is_processed:
            self.last_seqs[upload.session] = upload.seq
        if is_latest:
            self.newest = upload.session
        is_late = upload.rank == 0 and not is_latest
        self.uploads[upload.key] = (is_late, is_processed)
        self.metrics[upload.key] = upload.metrics()
        rows: dict[int, dict[int, Record]] = {}
        for record in upload.records():
            step = record["step"]
            if upload.rank == 0:
                self.first_steps[upload.session] = min(step, self.first_steps.get(upload.session, step))
            reading = {}
            if "active" in record:
                rows.setdefault(step, {})[record["layer_id"]] = record
                reading = {"active_rate": sum(record["active"]) / len(record["active"]) / 8}
            self.records.append((upload, record | reading if is_processed else record))
        for ordinal, step in enumerate(sorted(rows), self.unit_rows_written):
            self.unit_rows[step, *upload.key] = UnitRow(ordinal, rows[step])
        self.unit_rows_written += len(rows)

    def _number(self, session: str) -> int:
        return self.sessions.index(session) if session in self.sessions else -1

    def shows(self, session: str, step: int) -> bool:
        """At a step the newest session that began at or before it is shown."""
        begun = [name for name, first_step in self.first_steps.items() if first_step <= step]
        return session == max(begun, key=self._number)

    def series(self, layer: int) -> list[Record]:
        records = [
            record
            for upload, record in self.records
            if upload.rank == 0 and record["layer_id"] == layer and self.shows(upload.session, record["step"])
        ]
        return sorted(records, key=lambda record: record["step"])

    def units(self, layer: int, last_step: int) -> Record | None:
        """The newest record at or before a step that is shown and was not thinned."""
        shown_records = {}
        for (step, session, rank, _), row in self.unit_rows.items():
            if step <= last_step and layer in row.records and rank == 0 and self.shows(session, step):
                shown_records[step] = row.records[layer]
        return shown_records[max(shown_records)] if shown_records else None

    def logged_points(self) -> list[dict[str, Any]]:
        """Of a step that was logged twice the later upload counts."""
        keys = sorted(self.metrics, key=lambda key: (self._number(key[0]), *key[1:]))
        values = {point["step"]: point["value"] for key in keys for point in self.metrics[key]}
        return [{"step": step, "value": value} for step, value in sorted(values.items())]

    def last_step(self) -> int | None:
        return max((record["step"] for _, record in self.records), default=None)
