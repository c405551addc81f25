"""A server whose detector says what a test wants, whose clock is moved by hand, and whose tellings are written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from live_server import caller

from relumine.views import Kind, Severity
from relumine.wire import LayerInfo, RunInfo, Upload
from relumine_server import alert_book, ingest
from relumine_server.app import create_app
from relumine_server.detection.findings import Finding
from relumine_server.detection.report import run_evidence
from relumine_server.detection.state import RunMemory
from relumine_server.settings import Settings
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store
from relumine_server.sweep import Sweep

START = datetime(2026, 1, 1, tzinfo=UTC)


def found(
    layer_id: int = 1,
    kind: Kind = "dying",
    transition: str = "raised",
    severity: Severity = "warning",
    *,
    step: int = 100,
    upstream: Sequence[int] = (),
) -> Finding:
    """What the detector would say; with ``upstream`` the cause is their collapse."""
    evidence = run_evidence(RunMemory(), step) | {"upstream": list(upstream)}
    cause = "upstream_collapse" if upstream else "unknown"
    name = f"act{layer_id}" if layer_id else None
    reason = "it is over" if transition == "resolved" else None
    return Finding(layer_id, name, kind, transition, severity, cause, 0.5, step, evidence, reason=reason)


class AlertWorld:
    """One server. ``told`` is every call to the outbox: (event, [(alert_id, severity)])."""

    def __init__(self, database_url: str, monkeypatch, **settings):
        self.now = START
        self.store = Store.open(database_url)
        self.settings = Settings(database_url=database_url, **settings)
        self.app = create_app(self.settings, store=self.store, clock=lambda: self.now)
        self.call = caller(self.app)
        self.sweep = Sweep(self.store, self.settings, lambda: self.now, on_told=lambda: None)
        self.told: list[tuple[str, list[tuple[str, Severity]]]] = []
        self.findings: list[Finding] | None = []  # None: what the detector says itself
        self.sent: dict[tuple[str, str], int] = {}
        monkeypatch.setattr(alert_book.deliveries, "enqueue", self._enqueue)
        advance = ingest.onset.advance

        def said(*given):
            state, readings, findings = advance(*given)
            return state, readings, findings if self.findings is None else list(self.findings)

        monkeypatch.setattr(ingest.onset, "advance", said)

    def _enqueue(self, _connection, *, event, run_id, project, alerts, now):
        self.told.append((event, list(alerts)))
        return 0

    def upload(self, *findings: Finding, run="r1", session="s1", layers=6, closing=None, **run_info):
        """An upload after which the detector says this; the answer's alerts."""
        self.findings = list(findings)
        seq = self.sent[run, session] = self.sent.get((run, session), 0) + 1
        described = [LayerInfo(layer_id=i, name=f"act{i}", units=4) for i in range(1, layers + 1)] if seq == 1 else []
        info = RunInfo(id=run, **{"project": "digits", "name": "baseline", **run_info})
        one = Upload(run=info, session=session, seq=seq, layers=described, records=[], closing=closing)
        read = Upload.model_validate_json(one.model_dump_json(exclude_none=True))
        taken = self.store.write(lambda c: self.app.state.ingest.take(c, read, self.now))
        return taken.accepted.alerts

    def move(self, **by) -> int:
        """Let time pass, then sweep once; the number of tellings."""
        self.now += timedelta(**by)
        return self.sweep.run_once()

    def alert(self, layer_id=1, kind="dying", run="r1"):
        """The alert as the API shows it."""
        answer = self.call("GET", f"/v1/alerts/{run}.{layer_id}.{kind}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def act(self, what, layer_id=1, kind="dying", *, run="r1", author="Ada", note=""):
        """Acknowledge or resolve, over HTTP."""
        path = f"/v1/alerts/{run}.{layer_id}.{kind}/{what}"
        return self.call("POST", path, json={"author": author, "note": note})

    def history(self, layer_id=1, kind="dying", run="r1"):
        """The transitions of an alert."""
        return self.call("GET", f"/v1/alerts/{run}.{layer_id}.{kind}/history?limit=200").json()["items"]

    def states(self, **about):
        """The states that an alert went through."""
        return [entry["to_state"] for entry in self.history(**about)]

    def events(self):
        """What was told since the last time, as (event, [layer.kind]); alerts of the one run that is there."""
        said = [(event, [alert_id.split(".", 1)[1] for alert_id, _ in alerts]) for event, alerts in self.told]
        self.told.clear()
        return said

    def run_state(self, run="r1"):
        """The state of a run."""
        with self.store.read() as connection:
            return connection.scalar(sa.select(t.runs.c.state).where(t.runs.c.run_id == run))

    def close(self):
        """Give the database free."""
        self.store.close()
