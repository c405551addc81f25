"""The incidents of one run in one transaction: loaded, extended by the alerts that begin, and written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine_server.alerts.incidents import (
    IncidentRow,
    Member,
    Onset,
    find_incident,
    new_incident,
    with_alert,
    with_members,
)
from relumine_server.alerts.repository import AlertRecord
from relumine_server.alerts.status import AlertStatus
from relumine_server.db import dialect, tables
from relumine_server.runs.rows import LockedRun

_c = tables.incidents.c
COLUMNS = tuple(field.name for field in fields(IncidentRow))
_LOAD = (
    sa.select(*(_c[name] for name in COLUMNS))
    .where(_c.run_id == sa.bindparam("run"))
    .order_by(_c.opened_at, _c.opened_step, _c.incident_id)
)


class RunIncidents:
    """All incidents of a locked run, the earliest first."""

    def __init__(self, connection: sa.Connection, run: LockedRun, now: datetime) -> None:
        self._connection = connection
        self._run = run
        self._now = now
        rows = (IncidentRow(*row) for row in connection.execute(_LOAD, {"run": run.run_id}))
        self._rows = {row.incident_id: row for row in rows}
        self._stored = dict(self._rows)

    def assign(self, alert: AlertRecord, status: AlertStatus, upstream_incidents: Collection[str]) -> None:
        """Put an alert that begins into the incident it belongs to, or into a new one."""
        onset = Onset(alert.kind, alert.cause, status.opened_step, list(upstream_incidents))
        incident = find_incident(onset, [row for row in self._rows.values() if row.state == "open"])
        if incident is None:
            incident = new_incident(f"{self._run.run_id}.{len(self._rows) + 1}", onset, status.severity)
        alert.incident_id = incident.incident_id
        self._rows[incident.incident_id] = with_alert(incident, onset)

    def save(self, alerts: Iterable[AlertRecord]) -> None:
        """Write the incidents that changed."""
        members = by_incident(alerts)
        changed = []
        for incident_id, row in self._rows.items():
            updated = with_members(row, members.get(incident_id, ()))
            if updated != self._stored.get(incident_id):
                changed.append(self._values(updated))
        if not changed:
            return
        statement = dialect.insert(self._connection, tables.incidents)
        replaced = {name: statement.excluded[name] for name in (*COLUMNS[1:], "updated_at")}
        upsert = statement.on_conflict_do_update(index_elements=["run_id", "incident_id"], set_=replaced)
        self._connection.execute(upsert, changed)

    def _values(self, row: IncidentRow) -> dict[str, Any]:
        run = {"run_id": self._run.run_id, "project": self._run.project}
        return run | asdict(row) | {"opened_at": self._now, "updated_at": self._now}


def by_incident(alerts: Iterable[AlertRecord], due_repeats: Collection[str] = ()) -> dict[str, list[Member]]:
    """Return the alerts of each incident; ``due_repeats`` are the ids of those whose notification is to be repeated."""
    members: dict[str, list[Member]] = {}
    for alert in alerts:
        if alert.status is None:
            continue
        is_repeat_due = alert.alert_id in due_repeats
        member = Member(alert.alert_id, alert.kind, alert.status, alert.fired_now, is_repeat_due)
        members.setdefault(alert.incident_id, []).append(member)
    return members
