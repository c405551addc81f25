"""Findings become alerts, alerts become deliveries, all in the transaction of the upload that caused them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.views import SEVERITIES
from relumine_server.detection import wording
from relumine_server.detection.findings import Finding
from relumine_server.storage import alerts, deliveries


def record(connection: sa.Connection, run: sa.Row[Any], findings: Sequence[Finding], now: datetime) -> list[str]:
    """Move the alerts of a run by what the detector found; returns the ids of those that moved."""
    moved = []
    for finding in findings:
        key = alerts.alert_id(run.run_id, finding.layer_id, finding.kind)
        before = alerts.load(connection, run.run_id, key)
        if before is None and finding.transition == "resolved":
            continue
        event = _move(connection, run, key, before, finding, now)
        if event is not None and finding.severity != "info":
            deliveries.enqueue(
                connection, event=event, run_id=run.run_id, project=run.project, alert_ids=[key], now=now
            )
        moved.append(key)
    return moved


def _move(
    connection: sa.Connection, run: sa.Row[Any], key: str, before: sa.Row[Any] | None, finding: Finding, now: datetime
) -> str | None:
    """Insert or update one alert; returns the event to tell, if any."""
    if before is None:
        alerts.insert(connection, _new(run, key, finding, now))
        return "alert.firing"
    if finding.transition == "resolved":
        if before.state == "resolved":
            return None
        end = {"resolved_step": finding.step, "resolved_at": now, "resolved_reason": finding.reason}
        alerts.update(connection, run.run_id, key, {"state": "resolved", "updated_at": now, **end})
        return "alert.resolved"
    state = "regressed" if before.state == "resolved" else before.state
    again = {"resolved_step": None, "resolved_at": None, "resolved_reason": None, "state": state}
    worse = SEVERITIES.index(finding.severity) > SEVERITIES.index(before.severity)
    if worse and before.severity == "info":  # what was merely shown becomes an alarm: it is as old as that
        again |= {"opened_step": finding.step, "opened_at": now}
    alerts.update(connection, run.run_id, key, {**_said(run, finding), **again, "updated_at": now})
    return "alert.firing" if state == "regressed" or worse else None


def _new(run: sa.Row[Any], key: str, finding: Finding, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "alert_id": key,
        "project": run.project,
        "layer_id": finding.layer_id,
        "kind": finding.kind,
        "state": "firing",
        "opened_step": finding.step,
        "opened_at": now,
        "updated_at": now,
        **_said(run, finding),
    }


def _said(run: sa.Row[Any], finding: Finding) -> dict[str, Any]:
    """What the finding says, in numbers and in words."""
    values = finding.as_dict()
    label = f"{run.project}/{run.name or run.run_id[:13]}"
    return {
        "severity": finding.severity,
        "cause": finding.cause,
        "confidence": finding.confidence,
        "title": wording.title(finding),
        "message": wording.message(finding, label),
        "evidence": values["evidence"],
        "forecast": values["forecast"],
        "remedies": list(values["remedies"]),
    }
