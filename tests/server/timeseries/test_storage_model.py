"""A model test of storage: whatever happens to a run, what is read of it is what was sent.

Uploads are sent, sent again, sent late; the run is compacted, thinned, deleted, and its server restarted, in any order.
The model holds every upload that was answered. Batches of background work are small, so that a few uploads reach every
edge of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sqlalchemy import select

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.db.database import Database
from relumine_server.ingest import analysis
from relumine_server.ingest.service import IngestService
from relumine_server.maintenance.worker import MaintenanceWorker
from relumine_server.runs import repository as run_repository
from relumine_server.runs import retention
from relumine_server.runs.retention import OverfullRun, Retention
from relumine_server.runs.session_order import client_session
from relumine_server.settings import Settings
from relumine_server.timeseries import compaction, logged_metrics, replay, unit_stats
from tests.helpers.live_server import caller
from tests.helpers.storage_model import UNITS, Record, SentUpload, StorageModel

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = ("n_examples", "weight_norm", "loss", "learning_rate", "grad_norm", "nonfinite", "active_rate")
RUN = "/v1/runs/r1"
SMALL = [
    (compaction, "CHUNK_RECORDS", 4), (compaction, "BATCH_RECORDS", 16), (logged_metrics, "MAX_ROWS", 6),
    (analysis, "SAVE_EVERY", 3), (replay, "PAGE_UPLOADS", 3), (unit_stats, "_CANDIDATES", 3),
    (retention, "FIRST_ROWS", 3), (retention, "LATEST_ROWS", 8), (retention, "BATCH_ROWS", 4),
    (run_repository, "CHILDREN", dict.fromkeys(run_repository.CHILDREN, 7)),
]  # fmt: skip

PICK = st.integers(0, 99)
DIGIT = st.integers(0, 9)
OFFSET = st.integers(-1, 1)
ACTIONS: dict[str, dict[str, Any]] = {
    "send": {
        "session": st.sampled_from(["s1", "s1", "s2"]), "rank": st.sampled_from([0, 0, 0, 1]), "steps": DIGIT,
        "seed": DIGIT, "gaps": st.lists(st.integers(1, 3), min_size=1, max_size=4), "again": st.lists(PICK, max_size=2),
        "final_status": st.sampled_from([None, None, None, None, "finished"]),
        "late": st.lists(st.tuples(PICK, DIGIT, DIGIT), max_size=2),
    },
    "compact": {"batches": st.sampled_from([1, 99])},
    "thin": {"every": st.integers(2, 3), "max_bytes": st.sampled_from([0, 8_000])},
    "restart": {},
    "read_parts": {"parts": st.lists(st.tuples(st.integers(0, 2), PICK, OFFSET, PICK, OFFSET), min_size=1, max_size=4)},
    "delete": {"expires": st.booleans()},
}  # fmt: skip
OFTEN = [*5 * ["send"], *3 * ["compact"], "thin", "thin", "restart", "read_parts", "read_parts", "delete"]


class Machine(stateful.RuleBasedStateMachine):
    """Does to a server what happens to servers, and compares its answers with the model."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.model = StorageModel()
        self.sent: list[SentUpload] = []
        self.is_unchecked = True
        self.settings = Settings(database_url=url, run_retention_days=7)
        self.database = Database.open(url)
        self.app = create_app(self.settings, database=self.database, clock=lambda: NOW)
        self.call = caller(self.app)

    def teardown(self) -> None:
        self.database.close()

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            rows = [tuple(row) for row in connection.execute(select(*columns))]
        sessions = [index for index, column in enumerate(columns) if column.name == "session"]
        return sorted(
            tuple(client_session(value) if index in sessions else value for index, value in enumerate(row))
            for row in rows
        )

    def total(self, column: Any) -> int:
        return sum(value for (value,) in self.stored(column))

    @initialize(start=st.integers(0, 100))
    def resume(self, start) -> None:
        """The second session begins within the first, before it, or behind it."""
        self.session_starts = {"s1": 30, "s2": 2 * start}

    @rule(
        action=st.sampled_from(OFTEN).flatmap(
            lambda name: st.tuples(st.just(name), st.fixed_dictionaries(ACTIONS[name]))
        )
    )
    def act(self, action) -> None:
        """One rule for all actions: hypothesis leaves rules out of whole examples, and these are few."""
        name, arguments = action
        self.is_unchecked = name == "send" or bool(self.model.records and name != "read_parts")
        if name == "send" or self.model.records:
            getattr(self, name)(**arguments)

    def send(self, *, session, rank, steps, seed, gaps, final_status, late, again) -> None:
        """New uploads, late ones in gaps, and old ones again, which are new after a deletion."""
        seq = max((key[2] for key in self.model.uploads if key[:2] == (session, rank)), default=0)
        start = self.session_starts[session]
        for gap in gaps:
            seq += gap
            upload = SentUpload(session, rank, seq, first_step=start, steps=steps, seed=(seed + seq) % 10)
            self._send(upload._replace(final_status=final_status))
        for pick, late_steps, late_seed in late if self.model.uploads else ():
            keys = sorted(self.model.uploads)
            late_session, late_rank, last_seq = keys[pick % len(keys)]
            missing = [n for n in range(1, last_seq) if (late_session, late_rank, n) not in keys] or [last_seq]
            late_seq = missing[pick % len(missing)]
            late_start = self.session_starts[late_session]
            shape = {"first_step": late_start, "steps": late_steps, "seed": late_seed}
            self._send(SentUpload(late_session, late_rank, late_seq, **shape))
        for pick in again if self.sent else ():
            self._send(self.sent[pick % len(self.sent)])

    def _send(self, upload: SentUpload) -> None:
        self.sent.append(upload)
        is_duplicate = upload.key in self.model.uploads
        answer = self.call("POST", "/v1/uploads", json=upload.body())
        assert answer.status_code == 202, answer.text
        response = answer.json()
        alerts = sorted(alert["id"] for alert in response.pop("alerts"))
        is_analyzed = response.pop("analyzed")
        accepted = 0 if is_duplicate else len(upload.records())
        expected = {"accepted": accepted, "duplicate": is_duplicate, "sample_every": None, "run_id": "r1"}
        assert {name: response[name] for name in expected} == expected
        if is_duplicate:
            stored = self.get("/v1/alerts", run_id="r1")["items"]
            assert alerts == sorted(alert["id"] for alert in stored if alert["state"] not in {"resolved", "ended"})
        else:
            self.model.add(upload)
            assert is_analyzed == self.model.uploads[upload.key][1]

    def compact(self, batches) -> None:
        """Compact everything, or as much as a process did before it was killed."""
        layers = self.get(f"{RUN}/layers")
        while batches and self.database.write(lambda c: compaction.compact(c, "r1")):
            batches -= 1
        assert self.get(f"{RUN}/layers") == layers

    def thin(self, every, max_bytes) -> None:
        run = OverfullRun("r1", Retention(unit_stats_bytes_per_run=max_bytes, unit_stats_keep_every=every))
        while self.database.write(lambda c: retention.thin(c, run)):
            pass
        stored = set(self.stored(*list(tables.unit_stats.primary_key)[1:]))
        self.model.unit_rows = {key: row for key, row in self.model.unit_rows.items() if key in stored}

    def restart(self) -> None:
        self.database.close()
        self.database = self.app.state.services.database = Database.open(self.settings.database_url)
        self.app.state.services.ingest = IngestService("")

    def delete(self, expires) -> None:
        if expires:
            assert self.call("PATCH", RUN, json={"status": "finished"}).status_code == 200
            MaintenanceWorker(self.database, self.settings, lambda: NOW + timedelta(days=8)).run_once()
        else:
            assert self.call("DELETE", RUN).status_code == 204
        self.model = StorageModel()

    def read_parts(self, parts) -> None:
        steps = sorted({record["step"] for _, record in self.model.records})
        for layer, first_pick, first_offset, last_pick, last_offset in parts:
            ends = (steps[first_pick % len(steps)] + first_offset, steps[last_pick % len(steps)] + last_offset)
            low, high = sorted(ends)
            inside = [record for record in self.model.series(layer) if low <= record["step"] <= high]
            self._check_series(layer, inside, points=2, from_step=low, to_step=high)
            self._check_units(max(layer, 1), step=low)

    @invariant()
    def is_as_the_model(self) -> None:
        """What an action may have changed is compared once."""
        if self.is_unchecked:
            self.what_is_read_is_what_was_sent()
            self.what_is_stored_is_what_was_sent()

    def what_is_read_is_what_was_sent(self) -> None:
        if not self.model.uploads:
            assert self.call("GET", RUN).status_code == 404
            return
        assert self.get(RUN)["last_step"] == self.model.last_step()
        pages = [self.get(f"{RUN}/metrics")]
        while pages[-1]["next_cursor"] is not None:
            pages.append(self.get(f"{RUN}/metrics", cursor=pages[-1]["next_cursor"]))
        assert [point for page in pages for point in page["metrics"].get("acc", [])] == self.model.logged_points()
        for layer in UNITS:
            self._check_series(layer, self.model.series(layer))
        self._check_units(1)
        self._check_units(2)

    def _check_series(self, layer: int, expected: list[Record], points: int = 5, **window: int) -> None:
        path = f"{RUN}/layers/{layer}/series"
        names = ",".join(SERIES)
        every = self.get(path, statistics=names, points=10_000, **window)
        few = self.get(path, statistics=names, points=points, **window)
        assert every["step"] == [record["step"] for record in expected]
        assert few["step"][-1:] == every["step"][-1:]
        assert len(few["step"]) <= points
        for name in SERIES:
            values = [record.get(name, 0 if name == "nonfinite" else None) for record in expected]
            assert every["statistics"][name] == dict.fromkeys(("last", "min", "max"), values), name
            measured = [value for value in values if value is not None]
            part = {key: [v for v in column if v is not None] for key, column in few["statistics"][name].items()}
            assert min(part["min"], default=None) == min(measured, default=None), name
            assert max(part["max"], default=None) == max(measured, default=None), name
            assert set(part["last"]) <= set(measured), name

    def _check_units(self, layer: int, **query: int) -> None:
        record = self.model.units(layer, query.get("step", 2**50))
        answer = self.call("GET", f"{RUN}/layers/{layer}/units", params=query)
        if record is None:
            assert (answer.status_code, answer.json()["code"]) == (404, "units_not_found")
            return
        expected = {name: record[name] for name in ("layer_id", "first_step", "step", "n_examples")}
        assert answer.json() == {**expected, "n_positions": 0, "columns": {"active": record["active"]}}

    def what_is_stored_is_what_was_sent(self) -> None:
        u = tables.uploads.c
        r = tables.unit_stats.c
        c = tables.chunks.c
        uploads = self.stored(u.session, u.rank, u.seq, u.late, u.processed)
        assert uploads == sorted((*key, *flags) for key, flags in self.model.uploads.items())
        assert self.stored(r.step, r.session, r.rank, r.seq) == sorted(self.model.unit_rows)
        in_chunks = sum(count for statistic, count in self.stored(c.statistic, c.record_count) if statistic == "step")
        assert self.total(tables.segments.c.record_count) + in_chunks == len(self.model.records)
        assert self.total(tables.runs.c.unit_stat_bytes) == self.total(r.size_bytes)


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 4), ("postgresql", 3)])
def test_what_is_read_is_what_was_answered_whatever_happened_between(
    kind, examples, more_examples, new_database, monkeypatch
):
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    examples *= more_examples
    few = settings(max_examples=examples, stateful_step_count=20, suppress_health_check=list(HealthCheck))
    stateful.run_state_machine_as_test(lambda: Machine(new_database(kind)), settings=few)
