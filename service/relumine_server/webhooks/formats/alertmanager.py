"""The ``alertmanager`` format: what Prometheus Alertmanager sends to its webhooks (version 4), and what it takes.

Whatever receives webhooks of an Alertmanager receives these. Where the URL is an Alertmanager's own
(``…/api/v2/alerts``) the same alerts go there as the list that it takes: with labels as their identity and an end.
Labels: ``alertname`` (``RelumineDying`` …), ``severity, project, run, run_id, group, layer, layer_id, kind``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from relumine.views import SEVERITIES, Alert
from relumine_server.webhooks.formats.fitting import compact
from relumine_server.webhooks.formats.wording import worded
from relumine_server.webhooks.formats.worst import worst_first
from relumine_server.webhooks.news import News

API_PATH = "/api/v2/alerts"
MAX_ALERTS = 20
MAX_BODY_BYTES = 20_000
MAX_API_ALERTS = 1_000  # an Alertmanager groups by itself: it should hear of them all
HOLDS_FOR = timedelta(days=7)
"""Without an end an Alertmanager forgets an alert after five minutes; we speak of it again after hours, or never."""
NOTICE_FOR = timedelta(hours=1)
_CLIPPED_CHARS = 1_000
_NEVER = "0001-01-01T00:00:00Z"  # what Alertmanager itself writes for an alert without an end
_EVENTS = {
    "run.finished": "RelumineRunFinished",
    "webhook.test": "RelumineTest",
    "webhook.disabled": "RelumineWebhookDisabled",
}


class _Told(NamedTuple):
    """An alert in the words of Prometheus. ``identity`` outlives a change of severity."""

    identity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ended_at: datetime | None
    url: str


def body(news: News) -> str:
    """The webhook of version 4, with the worst alerts as far as 20 kB go."""
    told = _told(news, MAX_ALERTS)
    text = _message(news, told)
    while len(text.encode()) >= MAX_BODY_BYTES and len(told) > 1:
        told = told[:-1]
        text = _message(news, told)
    return text


def api_body(news: News) -> str:
    """The list that ``POST /api/v2/alerts`` takes."""
    return compact([_posted(told, news.at) for told in _with_milder(_told(news, MAX_API_ALERTS))])


def _message(news: News, told: Sequence[_Told]) -> str:
    firing = any(one.ended_at is None for one in told)
    group = {name: told[0].labels[name] for name in ("project", "run_id") if name in told[0].labels}
    return compact(
        {
            "version": "4",
            "groupKey": "{}/{relumine}:{" + ", ".join(f"{name}={json.dumps(group[name])}" for name in group) + "}",
            "truncatedAlerts": max(news.total - len(told), 0) if news.alerts else 0,
            "status": "firing" if firing else "resolved",
            "receiver": "relumine",
            "groupLabels": group,
            "commonLabels": _common(one.labels for one in told),
            "commonAnnotations": _common(one.annotations for one in told),
            "externalURL": news.url,
            "alerts": [_reported(one) for one in told],
        }
    )


def _told(news: News, limit: int) -> list[_Told]:
    if news.alerts:
        return [_of_alert(alert) for alert in worst_first(news.alerts)[:limit]]
    return [_notice(news)]


def _of_alert(alert: Alert) -> _Told:
    labels = {
        "alertname": "Relumine" + "".join(word.capitalize() for word in alert.kind.split("_")),
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
        "summary": f"{alert.project}/{labels['run']}: {alert.title}"[:_CLIPPED_CHARS],
        "description": alert.message[:_CLIPPED_CHARS],
        "cause": alert.cause,
        "state": alert.state,
        "acknowledged_by": alert.acknowledged.author if alert.acknowledged else "",
        "step": str(alert.opened_step),
        "remedy": alert.remedies[0].reason[:_CLIPPED_CHARS] if alert.remedies else "",
    }
    opened_at = datetime.fromisoformat(alert.opened_at)
    over = alert.state == "resolved" and alert.resolved_at
    ended_at = max(datetime.fromisoformat(over), opened_at) if over else None  # an end before the start is refused
    return _Told(alert.id, _filled(labels), _filled(annotations), opened_at, ended_at, alert.url)


def _notice(news: News) -> _Told:
    """What is no alert of a layer is told as a short one, which ends by itself."""
    words, summary = worded(news), news.summary
    severity = {"🔴": "critical", "🟠": "warning"}.get(words.mark, "info")
    labels = {"alertname": _EVENTS.get(news.event, "Relumine"), "severity": severity, "kind": news.event}
    if summary:
        labels |= {"project": summary.project, "run": summary.name or summary.run_id, "run_id": summary.run_id}
        labels["group"] = summary.group or ""
    if news.webhook:
        labels["webhook_id"] = news.webhook.webhook_id
    annotations = {"summary": words.headline[:_CLIPPED_CHARS], "description": words.lead[:_CLIPPED_CHARS]}
    identity = f"{news.event} {labels.get('run_id', '')} {labels.get('webhook_id', '')}"
    return _Told(identity, _filled(labels), _filled(annotations), news.at, None, news.url)


def _with_milder(told: Iterable[_Told]) -> list[_Told]:
    """To an Alertmanager another severity is another alert: one that is over ends its milder beginnings too."""
    every = []
    for one in told:
        every.append(one)
        severity = one.labels["severity"]
        if one.ended_at is not None and severity == SEVERITIES[-1]:
            every.append(one._replace(labels=one.labels | {"severity": SEVERITIES[-2]}))
    return every


def _reported(told: _Told) -> dict[str, Any]:
    return {
        "status": "firing" if told.ended_at is None else "resolved",
        "labels": told.labels,
        "annotations": told.annotations,
        "startsAt": _written(told.starts_at),
        "endsAt": _NEVER if told.ended_at is None else _written(told.ended_at),
        "generatorURL": told.url,
        "fingerprint": hashlib.sha256(told.identity.encode()).hexdigest()[:16],
    }


def _posted(told: _Told, at: datetime) -> dict[str, Any]:
    held = HOLDS_FOR if "layer_id" in told.labels else NOTICE_FOR
    return {
        "labels": told.labels,
        "annotations": told.annotations,
        "startsAt": _written(told.starts_at),
        "endsAt": _written(told.ended_at or at + held),
        "generatorURL": told.url,
    }


def _common(sets: Iterable[dict[str, str]]) -> dict[str, str]:
    first, *others = sets
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _filled(names: dict[str, str]) -> dict[str, str]:
    """An empty label is no label."""
    return {name: value for name, value in names.items() if value}


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
