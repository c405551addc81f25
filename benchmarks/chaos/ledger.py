"""What a database and a receiver must hold after trainings died on servers that were killed meanwhile.

Uploads: each that was acknowledged is there once, with every record and every row of units. Alerts: their histories are
what one process that was never disturbed would have written, and every step in them is one that the machine knows.
Notifications: what fires was told to each webhook, an end to those who heard the beginning, the end of each run once;
nothing under more ids than its history has tellings.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from courier_kills import Receiver
from dying_runs import PER_UPLOAD, RECORDS_PER_STEP, Outcome, seq_of, uploads
from server_kills import Key, stored_records

from relumine.wire import Upload
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import DEFAULT
from relumine_server.life.machine import TABLE, Life, Occurrence, event_of, move
from relumine_server.storage import tables as t

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF_THE_DETECTOR = frozenset({"raised", "suspected", "escalated", "changed", "cleared"})

Alert = tuple[str, str]
"""Run and alert."""


class Heard(Receiver):
    """Keeps under which ids each webhook was told of each event of each alert, and of each run's end."""

    EVENTS: ClassVar[list[str]] = ["alert.firing", "alert.resolved", "alert.acknowledged", "run.finished"]
    ANSWER_S, FAILING = (0.0, 0.05), 100

    def __init__(self) -> None:
        super().__init__()
        self.of: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)

    def keep(self, path: str, delivery_id: str, body: bytes) -> None:
        """Note what a notification told."""
        document = json.loads(body)
        data = document["data"]
        for subject in [alert["id"] for alert in data["alerts"]] or [data["run"]["run_id"]]:
            self.of[path, document["type"], subject].add(delivery_id)


@contextmanager
def connected(database_url: str) -> Iterator[sa.Connection]:
    """A transaction of its own."""
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def waits_for(database_url: str, runs: Mapping[str, Outcome]) -> str:
    """What the servers still have to do, in words; empty when all is done."""
    silent = {run for run, end in runs.items() if end is None}
    with connected(database_url) as connection:
        pending = connection.scalar(sa.select(sa.func.count()).where(t.deliveries.c.state == "pending"))
        a = t.alerts.c
        query = sa.select(a.run_id).where(a.kind == "stalled", a.state.not_in(["pending", "resolved"]))
        missed = silent - set(connection.scalars(query))
    return f"{pending} notifications, {len(missed)} runs to be seen silent" if pending or missed else ""


def audit(
    database_url: str, acknowledged: Sequence[Key], runs: Mapping[str, Outcome], heard: Heard, webhooks: int
) -> tuple[str, bool]:
    """What is held, in words, and whether it is what was promised."""
    with connected(database_url) as connection:
        stored = uploads_held(connection, acknowledged)
        alerts = {(row.run_id, row.alert_id): row for row in connection.execute(sa.select(t.alerts))}
        order = (t.history.c.run_id, t.history.c.alert_id, t.history.c.number)
        history: defaultdict[Alert, list[Any]] = defaultdict(list)
        for row in connection.execute(sa.select(t.history).order_by(*order)):
            history[row.run_id, row.alert_id].append(row)
        d = t.deliveries.c
        states = dict(connection.execute(sa.select(d.delivery_id, d.state)).tuples().all())
    wrong = stored | alerts_wrong(runs, alerts, history) | told_wrong(runs, alerts, history, heard, webhooks)
    wrong |= {
        "delivered and never received": sum(s == "delivered" and not heard.times[i] for i, s in states.items()),
        "received and not known as delivered": sum(states.get(i) != "delivered" for i in heard.times),
        "given up": sum(s == "failed" for s in states.values()),
    }
    again = sum(times - 1 for times in heard.times.values())
    moves = sum(map(len, history.values()))
    said = f"{len(acknowledged):,} uploads of {len(runs)} runs, {len(alerts):,} alerts with {moves:,} transitions, "
    said += f"{heard.times.total() - again:,} notifications ({again} came again under the same id); "
    return said + ", ".join(f"{number} {what}" for what, number in wrong.items()), not any(wrong.values())


def uploads_held(connection: sa.Connection, acknowledged: Sequence[Key]) -> dict[str, int]:
    """How many uploads are missing, doubled or torn."""
    u, r = t.uploads.c, t.unit_rows.c
    held = Counter((run, seq) for run, seq in connection.execute(sa.select(u.run_id, u.seq)))
    rows = Counter((run, seq) for run, seq in connection.execute(sa.select(r.run_id, r.seq)))
    records: defaultdict[Key, Counter[int]] = defaultdict(Counter)
    for run, step in stored_records(connection):
        records[run, seq_of(step)][step] += 1
    keys = held.keys() | rows.keys() | records.keys()
    twice = {key for key in keys if held[key] > 1 or rows[key] > PER_UPLOAD or max_of(records[key]) > RECORDS_PER_STEP}
    whole = {key for key in keys if held[key] and rows[key] == PER_UPLOAD and is_whole(records[key])}
    return {
        "missing": len(set(acknowledged) - held.keys()),
        "held twice": len(twice),
        "held in part": len(keys - whole - twice),
    }


def max_of(records: Counter[int]) -> int:
    """Records of the step that has most."""
    return max(records.values(), default=0)


def is_whole(records: Counter[int]) -> bool:
    """Whether every step of an upload has every record."""
    return len(records) == PER_UPLOAD and set(records.values()) == {RECORDS_PER_STEP}


def alerts_wrong(
    runs: Mapping[str, Outcome], alerts: Mapping[Alert, Any], history: Mapping[Alert, list[Any]]
) -> dict[str, int]:
    """How many alerts are not what an undisturbed process would have said, or moved as nothing may."""
    expected = {(run, alert): moves for run in runs for alert, moves in undisturbed(run).items()}
    found = {
        key: [(row.event, row.step) for row in rows if row.event in OF_THE_DETECTOR]
        for key, rows in history.items()
        if alerts[key].kind != "stalled"
    }
    raised = Counter(key for key, rows in history.items() for row in rows if row.from_state is None)
    stalled = {key for key in alerts if alerts[key].kind == "stalled"}
    silent = {run for run, end in runs.items() if end is None}
    return {
        "alerts missing": len(expected.keys() - found.keys()),
        "that nothing explains": len(found.keys() - expected.keys()),
        "with other moves than undisturbed": sum(found[key] != expected[key] for key in found.keys() & expected.keys()),
        "raised twice": sum(raised[key] != 1 for key in alerts),
        "moved illegally": sum(not is_legal(rows, alerts[key].state) for key, rows in history.items()),
        "silent runs not told so": len(silent - {run for run, _ in stalled}),
    }


def undisturbed(run: str) -> dict[str, list[tuple[str, int]]]:
    """Event and step of what one process would have written into the histories of this run."""
    state, lives, moves = detector.empty(), dict[str, Life](), defaultdict[str, list[tuple[str, int]]](list)
    for body in uploads(run):
        upload = Upload.model_validate_json(json.dumps(body))
        state, _readings, findings = onset.advance(detector.describe(state, upload.layers), upload.records, DEFAULT)
        for finding in findings:
            alert = f"{run}.{finding.layer_id}.{finding.kind}"
            event = event_of(finding.kind, finding.transition, finding.severity, lives.get(alert))
            moved = move(lives.get(alert), Occurrence(event, NOW, finding.step, finding.severity))
            if moved is not None:
                lives[alert] = moved.life
                moves[alert] += [(event, finding.step)] if moved.entry is not None else []
    return moves


def is_legal(rows: Sequence[Any], state: str) -> bool:
    """Whether every move follows from the one before by the machine's table, and leads to where the alert is."""
    before = None
    for number, row in enumerate(rows, start=1):
        step = TABLE[before].get(row.event)
        if row.number != number or row.from_state != before or step is None or step.to != row.to_state:
            return False
        before = row.to_state
    return before == state


def told_wrong(
    runs: Mapping[str, Outcome],
    alerts: Mapping[Alert, Any],
    history: Mapping[Alert, list[Any]],
    heard: Heard,
    webhooks: int,
) -> dict[str, int]:
    """How much was never told, and how much under more ids than it was to be told."""
    untold = overtold = unended = 0
    for path in map("/{}".format, range(webhooks)):
        for key, alert in alerts.items():
            tellings = Counter(f"alert.{TABLE[row.from_state][row.event].tells}" for row in history[key])
            ids = {event: len(heard.of[path, event, alert.alert_id]) for event in heard.EVENTS}
            fires = alert.state in {"firing", "regressed"} and not (alert.muted_by or alert.silenced_by)
            untold += fires and not ids["alert.firing"]
            unended += alert.state == "resolved" and ids["alert.firing"] > 0 and not ids["alert.resolved"]
            overtold += sum(ids[event] > tellings[event] for event in ids)
    ended = [
        len(heard.of[f"/{n}", "run.finished", run]) - bool(end) for run, end in runs.items() for n in range(webhooks)
    ]
    return {
        "firing and not told": untold,
        "told and never told over": unended,
        "under more ids than tellings": overtold,
        "ends of runs not told": sum(one < 0 for one in ended),
        "ends told twice": sum(one > 0 for one in ended),
    }
