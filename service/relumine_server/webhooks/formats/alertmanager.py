"""The ``alertmanager`` format: the webhook of Prometheus Alertmanager (version 4), and the body of its own API.

A receiver of Alertmanager's webhooks understands the first. Where the URL is that of an Alertmanager
(``…/api/v2/alerts``) the same alerts are sent as the list that it expects, with labels as their identity and an end.
Labels: ``alertname`` (``RelumineDying`` …), ``severity, project, run, run_id, group, layer, layer_id, kind``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from relumine.schemas.alert import SEVERITIES, Alert, Kind
from relumine.schemas.base import rfc3339
from relumine_server.webhooks.formats.text import compact_json, render_text
from relumine_server.webhooks.notification import Notification, by_severity

API_PATH = "/api/v2/alerts"
MAX_ALERTS = 20
MAX_BODY_BYTES = 20_000
MAX_API_ALERTS = 1_000  # an Alertmanager groups by itself, so it is sent more
ALERT_LIFETIME = timedelta(days=7)
"""Without an end an Alertmanager forgets an alert after five minutes; the next notification may come hours later."""
EVENT_LIFETIME = timedelta(hours=1)
_MAX_TEXT_CHARS = 1_000
_NO_END = "0001-01-01T00:00:00Z"  # as Alertmanager itself writes it
_EVENT_ALERTNAMES = {
    "run.finished": "RelumineRunFinished",
    "webhook.test": "RelumineTest",
    "webhook.disabled": "RelumineWebhookDisabled",
}


class _PrometheusAlert(NamedTuple):
    """An alert in the terms of Prometheus. ``identity`` does not change with the severity, as the labels do."""

    identity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ended_at: datetime | None
    url: str


def render_body(notification: Notification) -> str:
    """Return the webhook of version 4, with as many alerts as fit into 20 kB, the most severe first."""
    alerts = _prometheus_alerts(notification, MAX_ALERTS)
    body = _message(notification, alerts)
    while len(body.encode()) >= MAX_BODY_BYTES and len(alerts) > 1:
        alerts = alerts[:-1]
        body = _message(notification, alerts)
    return body


def render_api_body(notification: Notification) -> str:
    """Return the list that ``POST /api/v2/alerts`` expects."""
    alerts = _with_former_identities(_prometheus_alerts(notification, MAX_API_ALERTS), notification.created_at)
    return compact_json([_api_alert(alert, notification.created_at) for alert in alerts])


def _message(notification: Notification, alerts: Sequence[_PrometheusAlert]) -> str:
    group = {name: alerts[0].labels[name] for name in ("project", "run_id") if name in alerts[0].labels}
    group_key = ", ".join(f"{name}={json.dumps(value)}" for name, value in group.items())
    is_firing = any(alert.ended_at is None for alert in alerts)
    return compact_json(
        {
            "version": "4",
            "groupKey": "{}/{relumine}:{" + group_key + "}",
            "truncatedAlerts": max(notification.total - len(alerts), 0) if notification.alerts else 0,
            "status": "firing" if is_firing else "resolved",
            "receiver": "relumine",
            "groupLabels": group,
            "commonLabels": _common(alert.labels for alert in alerts),
            "commonAnnotations": _common(alert.annotations for alert in alerts),
            "externalURL": notification.url,
            "alerts": [_webhook_alert(alert) for alert in alerts],
        }
    )


def _prometheus_alerts(notification: Notification, limit: int) -> list[_PrometheusAlert]:
    alerts = [_from_alert(alert, notification) for alert in by_severity(notification.alerts)[:limit]]
    return alerts if notification.event.startswith("alert.") else [_from_event(notification), *alerts]


def _from_alert(alert: Alert, notification: Notification) -> _PrometheusAlert:
    labels = {
        "alertname": _alertname(alert.kind),
        "severity": alert.severity,
        "project": alert.project,
        "run": alert.run.name or alert.run_id,
        "run_id": alert.run_id,
        "group": alert.run.group or "",
        "layer": alert.layer or "",
        "layer_id": str(alert.layer_id),
        "kind": alert.kind,
    }
    annotations = {
        "summary": f"{alert.project}/{labels['run']}: {alert.title}"[:_MAX_TEXT_CHARS],
        "description": alert.message[:_MAX_TEXT_CHARS],
        "cause": alert.cause,
        "state": alert.state,
        "acknowledged_by": alert.acknowledged.author if alert.acknowledged else "",
        "step": str(alert.opened_step),
        "run_ended": _run_end(alert),
        "remedy": alert.remedies[0].reason[:_MAX_TEXT_CHARS] if alert.remedies else "",
    }
    return _PrometheusAlert(
        identity=alert.id,
        labels=_non_empty(labels),
        annotations=_non_empty(annotations),
        starts_at=datetime.fromisoformat(alert.opened_at),
        ended_at=_end_of(alert, notification),
        url=alert.url,
    )


def _alertname(kind: Kind) -> str:
    return "Relumine" + "".join(word.capitalize() for word in kind.split("_"))


def _run_end(alert: Alert) -> str:
    """Return since which step the run of a firing alert has ended; its problem was never over."""
    if alert.state != "ended":
        return ""
    at_step = "" if alert.ended_step is None else f" at step {alert.ended_step:,}"
    return f"The run ended{at_step} with this alert open. Resolve it in Relumine, or wait for it to expire."


def _end_of(alert: Alert, notification: Notification) -> datetime | None:
    """Return the end of a resolved alert, and of one that expired after the end of its run; None while it fires.

    Alertmanager rejects an end before the start.
    """
    opened_at = datetime.fromisoformat(alert.opened_at)
    if alert.state == "resolved" and alert.resolved_at:
        return max(datetime.fromisoformat(alert.resolved_at), opened_at)
    if alert.state == "ended" and notification.event == "alert.resolved":
        return max(notification.created_at, opened_at)
    return None


def _from_event(notification: Notification) -> _PrometheusAlert:
    """Return an event that is no alert of a layer as an alert that ends soon by itself."""
    text = render_text(notification)
    severity = {"🔴": "critical", "🟠": "warning"}.get(text.mark, "info")
    alertname = _EVENT_ALERTNAMES.get(notification.event, "Relumine")
    labels = {"alertname": alertname, "severity": severity, "kind": notification.event}
    summary = notification.summary
    if summary:
        labels |= {"project": summary.project, "run": summary.name or summary.run_id, "run_id": summary.run_id}
        labels["group"] = summary.group or ""
    if notification.webhook:
        labels["webhook_id"] = notification.webhook.webhook_id
    annotations = {"summary": text.headline[:_MAX_TEXT_CHARS], "description": text.lead[:_MAX_TEXT_CHARS]}
    return _PrometheusAlert(
        identity=f"{notification.event} {labels.get('run_id', '')} {labels.get('webhook_id', '')}",
        labels=_non_empty(labels),
        annotations=_non_empty(annotations),
        starts_at=notification.created_at,
        ended_at=None,
        url=notification.url,
    )


def _with_former_identities(alerts: Iterable[_PrometheusAlert], now: datetime) -> list[_PrometheusAlert]:
    """Add the end of what an alert may have been before.

    Labels are the identity of an alert to an Alertmanager. The severity is one of them, which may have been lower, and
    so is the kind: a layer that is dead was dying.
    """
    extended = []
    for alert in alerts:
        extended.append(alert)
        former = []
        if alert.ended_at is not None and alert.labels["severity"] == SEVERITIES[-1]:
            former.append(alert.labels | {"severity": SEVERITIES[-2]})
        if alert.labels["kind"] == "dead":
            was_dying = alert.labels | {"kind": "dying", "alertname": _alertname("dying")}
            former += [was_dying | {"severity": severity} for severity in SEVERITIES[-2:]]
        extended += [alert._replace(labels=labels, ended_at=alert.ended_at or now) for labels in former]
    return extended


def _webhook_alert(alert: _PrometheusAlert) -> dict[str, Any]:
    return {
        "status": "firing" if alert.ended_at is None else "resolved",
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": _NO_END if alert.ended_at is None else rfc3339(alert.ended_at),
        "generatorURL": alert.url,
        "fingerprint": hashlib.sha256(alert.identity.encode()).hexdigest()[:16],
    }


def _api_alert(alert: _PrometheusAlert, notified_at: datetime) -> dict[str, Any]:
    lifetime = ALERT_LIFETIME if "layer_id" in alert.labels else EVENT_LIFETIME
    return {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.ended_at or notified_at + lifetime),
        "generatorURL": alert.url,
    }


def _common(mappings: Iterable[dict[str, str]]) -> dict[str, str]:
    """Return the entries that all mappings share."""
    first, *others = mappings
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _non_empty(values: dict[str, str]) -> dict[str, str]:
    """Return the entries with a value: to Prometheus an empty label is no label."""
    return {name: value for name, value in values.items() if value}
