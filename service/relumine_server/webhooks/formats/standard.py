"""The ``standard`` format: ``{type, timestamp, data}`` of Standard Webhooks, always below 20 kB.

``data`` has the same fields for every event: ``run, alerts, total, url, summary, webhook``; fields that do not apply to
the event are null or empty. It carries the 20 most severe alerts as the API answers them. Where these are too long,
evidence is omitted first, then whole alerts.
"""

from __future__ import annotations

from typing import Any

from relumine.schemas.base import rfc3339
from relumine_server.webhooks.formats.text import compact_json
from relumine_server.webhooks.notification import Notification, by_severity

MAX_ALERTS = 20
MAX_BODY_BYTES = 20_000  # the size that Standard Webhooks lets a receiver expect


def render_body(notification: Notification) -> str:
    """Return the notification as a document, shortened until it is below the limit."""
    alerts = [alert.model_dump(mode="json") for alert in by_severity(notification.alerts)[:MAX_ALERTS]]
    summary = None if notification.summary is None else notification.summary.model_dump(mode="json")
    body = _document(notification, alerts, summary)
    while len(body.encode()) >= MAX_BODY_BYTES:
        _shorten(alerts, summary)
        body = _document(notification, alerts, summary)
    return body


def _shorten(alerts: list[dict[str, Any]], summary: dict[str, Any] | None) -> None:
    """Remove one thing, the least needed first. Ends, because names are short and the rest can be halved."""
    if summary and summary["ended_alerts"]:
        summary["ended_alerts"].pop()
        return
    if summary and summary["dead_layers"]:
        summary["dead_layers"] = summary["dead_layers"][: len(summary["dead_layers"]) // 2]
        return
    for alert in reversed(alerts):
        if alert["evidence"]:
            alert["evidence"] = {}
            return
    if len(alerts) > 1:
        alerts.pop()
        return
    if alerts:
        _clip(alerts[0])


def _clip(alert: dict[str, Any]) -> None:
    """Halve the texts of an alert and of its acknowledgement."""
    alert["remedies"] = []
    acknowledged = alert["acknowledged"] or {"note": ""}
    for container, key in ((alert, "title"), (alert, "message"), (acknowledged, "note")):
        container[key] = container[key][: len(container[key]) // 2]


def _document(notification: Notification, alerts: list[dict[str, Any]], summary: dict[str, Any] | None) -> str:
    data = {
        "run": _run(notification),
        "alerts": alerts,
        "total": notification.total,
        "url": notification.url,
        "summary": summary,
        "webhook": None if notification.webhook is None else notification.webhook._asdict(),
    }
    return compact_json({"type": notification.event, "timestamp": rfc3339(notification.created_at), "data": data})


def _run(notification: Notification) -> dict[str, Any] | None:
    """Return the run of the notification, with the same fields for alerts and for a summary."""
    if notification.alerts:
        alert = notification.alerts[0]
        return {"run_id": alert.run_id, "project": alert.project, **alert.run.model_dump(mode="json")}
    if notification.summary:
        return notification.summary.model_dump(mode="json", include={"run_id", "project", "name", "group", "url"})
    return None
