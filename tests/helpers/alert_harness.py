"""An application with a scripted detector, a clock that is set by hand, and an outbox that only records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from relumine.schemas.alert import Kind, Severity, problem_of
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.db.database import Database
from relumine_server.detection import detector
from relumine_server.detection.findings import Finding
from relumine_server.detection.run_evidence import run_evidence
from relumine_server.detection.state import RunMemory
from relumine_server.settings import Settings
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller

START = datetime(2026, 1, 1, tzinfo=UTC)


def finding(
    layer_id: int = 1,
    kind: Kind = "dying",
    transition: str = "raised",
    severity: Severity = "warning",
    *,
    step: int = 100,
    upstream: Sequence[int] = (),
) -> Finding:
    """Return a finding of the detector; with ``upstream`` the collapse of those layers is its cause."""
    return Finding(
        layer_id=layer_id,
        layer=f"act{layer_id}" if layer_id else None,
        kind=kind,
        transition=transition,
        severity=severity,
        cause="upstream_collapse" if upstream else "unknown",
        confidence=0.5,
        step=step,
        evidence=run_evidence(RunMemory(), step) | {"upstream": list(upstream)},
        reason="it is over" if transition == "resolved" else None,
    )


class AlertHarness:
    """One server. ``notifications`` has every call to the outbox, as (event, [(alert_id, severity)])."""

    def __init__(self, database: Database, **settings):
        self.now = START
        self.database = database
        self.settings = Settings(database_url=address_of(database), **settings)
        self.findings: list[Finding] | None = []  # of the next upload; None for what the detector finds itself
        self.notifications: list[tuple[str, list[tuple[str, Severity]]]] = []
        self.app = create_app(
            self.settings,
            database=database,
            clock=lambda: self.now,
            detector=self._advance,
            outbox=self.record,
        )
        self.services = self.app.state.services
        self.evaluator = self.services.evaluator
        self.call = caller(self.app)
        self._uploads: dict[tuple[str, str], int] = {}

    def _advance(self, state, records, policy, pause):
        advanced, readings, findings = detector.advance(state, records, policy, pause)
        return advanced, readings, findings if self.findings is None else list(self.findings)

    def record(self, connection, *, event, run_id, project, alerts, now, only_format=None):
        """Record a notification instead of writing it to the outbox."""
        self.notifications.append((event if only_format is None else f"{event} to {only_format}", list(alerts)))
        return 0

    def upload(
        self,
        *findings: Finding,
        run="r1",
        session="s1",
        layers=6,
        records=(),
        final_status=None,
        watching=None,
        **run_info,
    ):
        """Ingest an upload in which the detector finds ``findings``; return the alerts of the response."""
        self.findings = list(findings)
        seq = self._uploads[run, session] = self._uploads.get((run, session), 0) + 1
        upload = Upload(
            run=RunInfo(id=run, **{"project": "digits", "name": "baseline", **run_info}),
            session=session,
            seq=seq,
            layers=[LayerInfo(layer_id=i, name=f"act{i}", units=4) for i in range(1, layers + 1)] if seq == 1 else [],
            records=list(records),
            watching=watching,
            final_status=final_status,
        )
        decoded = Upload.model_validate_json(upload.model_dump_json(exclude_none=True))
        result = self.database.write(lambda c: self.services.ingest.ingest(c, decoded, self.now))
        return result.response.alerts

    def wait(self, **duration) -> int:
        """Let time pass and evaluate once; return the number of notifications."""
        self.now += timedelta(**duration)
        return self.evaluator.run_once()

    def alert(self, layer_id=1, kind="dying", run="r1"):
        """Return an alert as the API answers it."""
        response = self.call("GET", f"/v1/alerts/{run}.{layer_id}.{problem_of(kind)}")
        assert response.status_code == 200, response.text
        return response.json()

    def act(self, action, layer_id=1, kind="dying", *, run="r1", author="Ada", note=""):
        """Acknowledge or resolve an alert over HTTP; return the response."""
        path = f"/v1/alerts/{run}.{layer_id}.{problem_of(kind)}/{action}"
        return self.call("POST", path, json={"author": author, "note": note})

    def events(self, layer_id=1, kind="dying", run="r1"):
        """Return the events of an alert as the API answers them."""
        return self.call("GET", f"/v1/alerts/{run}.{layer_id}.{problem_of(kind)}/events?limit=200").json()["items"]

    def states(self, **alert):
        """Return the states that an alert went through."""
        return [event["to_state"] for event in self.events(**alert)]

    def take_notifications(self):
        """Return the notifications since the last call, as (event, ["layer.kind"]), where there is only one run."""
        notifications = []
        for event, alerts in self.notifications:
            notifications.append((event, [alert_id.split(".", 1)[1] for alert_id, _ in alerts]))
        self.notifications.clear()
        return notifications

    def run_health(self, run="r1"):
        """Return the health of a run."""
        return self.call("GET", f"/v1/runs/{run}").json()["health"]

    def run_status(self, run="r1"):
        """Return the status of a run."""
        with self.database.read() as connection:
            return connection.scalar(sa.select(tables.runs.c.status).where(tables.runs.c.run_id == run))
