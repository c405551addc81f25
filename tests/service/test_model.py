"""Sent, sent again, sent late, compacted, thinned, deleted, restarted, in any order: what is read is what a dict says.

The dict holds every upload that was answered; all that the API shows follows from it. The pieces of the background's
work are small here, so that a few uploads meet every edge of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from live_server import caller
from sqlalchemy import select

from relumine_server import ingest as hot_road
from relumine_server.app import create_app
from relumine_server.caretaker import Caretaker
from relumine_server.ingest import Ingest
from relumine_server.settings import Settings
from relumine_server.storage import compaction, journal, numbers, retention, runs, units
from relumine_server.storage import tables as t
from relumine_server.storage.retention import Retention, Run
from relumine_server.storage.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNITS = {0: 0, 1: 4, 2: 2}
LAYERS = [{"layer_id": layer, "name": f"act{layer}", "units": UNITS[layer]} for layer in (1, 2)]
SERIES = ("n_examples", "weight_norm", "loss", "learning_rate", "grad_norm", "nonfinite", "active_rate")
RUN = "/v1/runs/r1"
SMALL = [
    (compaction, "CHUNK", 4), (compaction, "PIECE", 16), (numbers, "ROWS", 6), (hot_road, "SAVE_EVERY", 3),
    (journal, "BATCH", 3), (retention, "FIRST", 3), (retention, "LATEST", 8), (retention, "PIECE", 4),
    (units, "_CANDIDATES", 3), (runs, "CHILDREN", dict.fromkeys(runs.CHILDREN, 7)),
]  # fmt: skip

PICK, DIGIT, BESIDE = st.integers(0, 99), st.integers(0, 9), st.integers(-1, 1)
ACTS: dict[str, dict[str, Any]] = {
    "send": {
        "session": st.sampled_from(["s1", "s1", "s2"]), "rank": st.sampled_from([0, 0, 0, 1]), "looks": DIGIT,
        "seed": DIGIT, "gaps": st.lists(st.integers(1, 3), min_size=1, max_size=4), "again": st.lists(PICK, max_size=2),
        "closing": st.sampled_from([None, None, None, None, "finished"]),
        "late": st.lists(st.tuples(PICK, DIGIT, DIGIT), max_size=2),
    },
    "compact": {"pieces": st.sampled_from([1, 99])},
    "thin": {"every": st.integers(2, 3), "unit_bytes": st.sampled_from([0, 8_000])},
    "restart": {},
    "read_parts": {"parts": st.lists(st.tuples(st.integers(0, 2), PICK, BESIDE, PICK, BESIDE), min_size=1, max_size=4)},
    "delete": {"expires": st.booleans()},
}  # fmt: skip
OFTEN = [*5 * ["send"], *3 * ["compact"], "thin", "thin", "restart", "read_parts", "read_parts", "delete"]
Record, Key = dict[str, Any], tuple[str, int, int]  # a key is session, rank, seq


class Sent(NamedTuple):
    """An upload; all that it carries follows from these. Its steps lie where its seq says, so late ones fit between."""

    session: str
    rank: int
    seq: int
    begin: int
    looks: int
    seed: int
    closing: str | None = None

    def records(self) -> list[Record]:
        """Two looks at each layer in three, another third each time."""
        steps = range(self.begin + 20 * self.seq, self.begin + 20 * self.seq + 2 * self.looks, 2)
        return [_record(layer, at, self.seed) for at in steps for layer in UNITS if (at // 2 + layer + self.seed) % 3]

    def numbers(self) -> list[dict[str, Any]]:
        """The second lies on the first step of the next upload."""
        steps = (20 * self.seq, 20 * self.seq + 20) if self.seed % 2 else ()
        return [{"step": step, "name": "acc", "value": self.seed + self.rank + step / 8} for step in steps]

    def body(self) -> dict[str, Any]:
        own = {"session": self.session, "rank": self.rank, "seq": self.seq, "closing": self.closing}
        return {"run": {"id": "r1"}, "layers": LAYERS, "records": self.records(), "numbers": self.numbers(), **own}


def _record(layer: int, step: int, seed: int) -> Record:
    """Every statistic is now there and now not; a layer is sometimes not heard, which opens an alert."""
    odd = (7 * step + 3 * layer + seed) % 11
    known = {"weight_norm": odd / 4, "loss": -(2.0**odd), "learning_rate": 0.1}
    hidden = {"weight_norm": odd % 3 == 0, "loss": layer > 0, "learning_rate": seed % 3 == 0}
    record = {name: value for name, value in known.items() if not hidden[name]}
    if layer and odd != 10:
        record |= {"n_examples": 8, "active": [1 + (odd + unit) % 7 for unit in range(UNITS[layer])]}
    return {"layer_id": layer, "first_step": step - odd % 2, "step": step, "n_examples": 0, **record}


class Model:
    """What a server must hold of a run."""

    def __init__(self) -> None:
        self.uploads: dict[Key, tuple[bool, bool]] = {}  # late, folded
        self.folded = ("", 0)
        self.first: dict[str, int] = {}
        self.records: list[tuple[Sent, Record]] = []
        self.points: dict[Key, list[dict[str, Any]]] = {}
        self.rows: dict[tuple[int, str, int, int], tuple[int, dict[int, Record]]] = {}
        self.ever = 0  # rows, those thinned among them: each has its number, and the records of its layers

    def take(self, sent: Sent) -> None:
        key, folds = sent[:3], sent.rank == 0 and (sent.session, sent.seq) > self.folded
        self.uploads[key], self.points[key] = (sent.rank == 0 and not folds, folds), sent.numbers()
        self.folded = (sent.session, sent.seq) if folds else self.folded
        rows: dict[int, dict[int, Record]] = {}
        for record in sent.records():
            if sent.rank == 0:
                self.first[sent.session] = min(record["step"], self.first.get(sent.session, record["step"]))
            if "active" in record:
                rows.setdefault(record["step"], {})[record["layer_id"]] = record
            rate = {"active_rate": sum(record["active"]) / len(record["active"]) / 8} if "active" in record else {}
            self.records.append((sent, record | rate if folds else record))
        self.rows |= {(step, *key): (self.ever + place, rows[step]) for place, step in enumerate(sorted(rows))}
        self.ever += len(rows)

    def shows(self, session: str, step: int) -> bool:
        """The newest session that began at or before a step is shown there."""
        return session == max(name for name, begin in self.first.items() if begin <= step)

    def series(self, layer: int) -> list[Record]:
        own = [(sent.session, r) for sent, r in self.records if sent.rank == 0 and r["layer_id"] == layer]
        return sorted((r for session, r in own if self.shows(session, r["step"])), key=lambda r: r["step"])

    def units(self, layer: int, at: int) -> Record | None:
        """The newest record at or before a step that is shown and has kept its units."""
        own = [(key, row[layer]) for key, (_, row) in self.rows.items() if key[0] <= at and layer in row]
        shown = {step: row for (step, session, rank, _), row in own if rank == 0 and self.shows(session, step)}
        return shown[max(shown)] if shown else None

    def numbers(self) -> list[dict[str, Any]]:
        """At a step that was logged twice the later upload is right."""
        points = {point["step"]: point["value"] for key in sorted(self.points) for point in self.points[key]}
        return [{"step": step, "value": value} for step, value in sorted(points.items())]

    def last_step(self) -> int | None:
        return max([point["step"] for point in self.numbers()] + [r["step"] for _, r in self.records], default=None)


class Machine(stateful.RuleBasedStateMachine):
    """Does to a server what happens to servers, and to the model what it should come to."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.model, self.sent = Model(), []
        self.settings = Settings(database_url=url, expire_days=7)
        self.store = Store.open(url)
        self.app = create_app(self.settings, store=self.store, clock=lambda: NOW)
        self.call = caller(self.app)

    def teardown(self) -> None:
        self.store.close()

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.store.read() as connection:
            return sorted(tuple(row) for row in connection.execute(select(*columns)))

    @initialize(at=st.integers(0, 100))
    def resume(self, at) -> None:
        """The second session begins amid the first, before it, or behind it."""
        self.begins = {"s1": 30, "s2": 2 * at}

    @rule(act=st.sampled_from(OFTEN).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(ACTS[name]))))
    def act(self, act) -> None:
        """One rule for all: hypothesis leaves rules out of whole examples, and these are few."""
        if act[0] == "send" or self.model.records:
            getattr(self, act[0])(**act[1])

    def send(self, *, session, rank, looks, seed, gaps, closing, late, again) -> None:
        """New uploads, late ones into gaps, and old ones again, which after a deletion are new."""
        newest = max((key[2] for key in self.model.uploads if key[:2] == (session, rank)), default=0)
        for gap in gaps:
            newest += gap
            self._send(Sent(session, rank, newest, self.begins[session], looks, (seed + newest) % 10, closing))
        for pick, looked, seeded in late if self.model.uploads else ():
            known = sorted(self.model.uploads)
            name, by, top = known[pick % len(known)]
            missing = [seq for seq in range(1, top) if (name, by, seq) not in known] or [top]
            self._send(Sent(name, by, missing[pick % len(missing)], self.begins[name], looked, seeded))
        for pick in again if self.sent else ():
            self._send(self.sent[pick % len(self.sent)])

    def _send(self, one: Sent) -> None:
        self.sent.append(one)
        duplicate = one[:3] in self.model.uploads
        answer = self.call("POST", "/v1/uploads", json=one.body())
        assert answer.status_code == 202, answer.text
        told = answer.json()
        alerts = sorted(alert["id"] for alert in told.pop("alerts"))
        assert told == {"accepted": 0 if duplicate else len(one.records()), "duplicate": duplicate, "every": None}
        if duplicate:
            known = self.get("/v1/alerts", run_id="r1")["items"]
            assert alerts == sorted(alert["id"] for alert in known if alert["state"] != "resolved")
        else:
            self.model.take(one)

    def compact(self, pieces) -> None:
        """To its end, or as far as a process came that was killed."""
        before = self.get(f"{RUN}/layers")
        while pieces and self.store.write(lambda c: compaction.compact(c, "r1")):
            pieces -= 1
        assert self.get(f"{RUN}/layers") == before

    def thin(self, every, unit_bytes) -> None:
        run = Run("r1", Retention(unit_bytes=unit_bytes, unit_rows_every=every))
        while self.store.write(lambda c: retention.thin(c, run)):
            pass
        left = set(self.stored(*list(t.unit_rows.primary_key)[1:]))
        gone = [ordinal for key, (ordinal, _) in self.model.rows.items() if key not in left]
        most, kept = self.model.ever - retention.LATEST, every**retention.SIEVES
        assert all(retention.FIRST <= ordinal < most and ordinal % kept for ordinal in gone)
        self.model.rows = {key: row for key, row in self.model.rows.items() if key in left}

    def restart(self) -> None:
        self.store.close()
        self.store = self.app.state.store = Store.open(self.settings.database_url)
        self.app.state.ingest = Ingest("")

    def delete(self, expires) -> None:
        if expires:
            assert self.call("PATCH", RUN, json={"state": "finished"}).status_code == 200
            Caretaker(self.store, self.settings, lambda: NOW + timedelta(days=8)).run_once()
        else:
            assert self.call("DELETE", RUN).status_code == 204
        self.model = Model()

    def read_parts(self, parts) -> None:
        known = sorted({record["step"] for _, record in self.model.records})
        for layer, *ends in parts:
            low, high = sorted(known[pick % len(known)] + beside for pick, beside in (ends[:2], ends[2:]))
            inside = [record for record in self.model.series(layer) if low <= record["step"] <= high]
            self._check_series(layer, inside, points=2, from_step=low, to_step=high)
            self._check_units(max(layer, 1), step=low)

    @invariant()
    def what_is_read_is_what_was_sent(self) -> None:
        if not self.model.uploads:
            assert self.call("GET", RUN).status_code == 404
            return
        assert self.get(RUN)["last_step"] == self.model.last_step()
        pages = [self.get(f"{RUN}/numbers")]
        while pages[-1]["next_cursor"] is not None:
            pages.append(self.get(f"{RUN}/numbers", cursor=pages[-1]["next_cursor"]))
        assert [point for page in pages for point in page["numbers"].get("acc", [])] == self.model.numbers()
        for layer in UNITS:
            self._check_series(layer, self.model.series(layer))
        self._check_units(1)
        self._check_units(2)

    def _check_series(self, layer: int, wanted: list[Record], points: int = 5, **window: int) -> None:
        path, names = f"{RUN}/layers/{layer}/series", ",".join(SERIES)
        whole, few = (self.get(path, statistics=names, points=most, **window) for most in (10_000, points))
        assert whole["step"] == [record["step"] for record in wanted]
        assert few["step"][-1:] == whole["step"][-1:]
        assert len(few["step"]) <= points
        for name in SERIES:
            values = [record.get(name, 0 if name == "nonfinite" else None) for record in wanted]
            assert whole["statistics"][name] == dict.fromkeys(("last", "min", "max"), values), name
            known = [value for value in values if value is not None]
            part = {key: [v for v in own if v is not None] for key, own in few["statistics"][name].items()}
            assert min(part["min"], default=None) == min(known, default=None), name
            assert max(part["max"], default=None) == max(known, default=None), name
            assert set(part["last"]) <= set(known), name

    def _check_units(self, layer: int, **query: int) -> None:
        known = self.model.units(layer, query.get("step", 2**50))
        answer = self.call("GET", f"{RUN}/layers/{layer}/units", params=query)
        if known is None:
            assert (answer.status_code, answer.json()["code"]) == (404, "units_not_found")
            return
        wanted = {name: known[name] for name in ("layer_id", "first_step", "step", "n_examples")}
        assert answer.json() == {**wanted, "n_positions": 0, "columns": {"active": known["active"]}}

    @invariant()
    def what_is_stored_is_what_was_sent(self) -> None:
        u, r, c = t.uploads.c, t.unit_rows.c, t.chunks.c
        held = self.stored(u.session, u.rank, u.seq, u.late, u.folded)
        assert held == sorted((*key, *flags) for key, flags in self.model.uploads.items())
        assert self.stored(r.step, r.session, r.rank, r.seq) == sorted(self.model.rows)
        in_chunks = sum(records for statistic, records in self.stored(c.statistic, c.records) if statistic == "step")
        assert sum(map(sum, self.stored(t.segments.c.records))) + in_chunks == len(self.model.records)
        assert sum(map(sum, self.stored(t.runs.c.unit_bytes))) == sum(map(sum, self.stored(r.size)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_read_is_what_was_answered_whatever_happened_between(kind, new_database, monkeypatch):
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    few = settings(max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    stateful.run_state_machine_as_test(lambda: Machine(new_database(kind)), settings=few)
