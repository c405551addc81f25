"""The text of a notification for a person: what, where, since when, why, what to do, and a link.

The text is the same for every chat; its markup, escaping and limits are up to each format. Names come from training
scripts and may contain anything: characters that are not printable become spaces here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from relumine.schemas.alert import Alert
from relumine.schemas.health import HealthStatus
from relumine.schemas.incident import incident_title, label_of, lead_of, past_title, severity_of
from relumine.schemas.run import RunSummary
from relumine_server.webhooks.notification import Notification, by_severity

MAX_ITEMS = 10  # a person reads no longer list in a chat
_MAX_NAMES = 5
_MAX_NOTE_CHARS = 120
_MAX_AUTHOR_CHARS = 60
_LONGEST_ESCAPE = 5  # ``&amp;``: the most characters that one character may become
_MARKS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_RECOVERED_MARK = "🟢"
_CLOSED_MARK = "⚪"
"""Of an alert that is over without a recovery: a person closed it, or its run ended long ago."""
_HEALTH_MARKS: Mapping[HealthStatus, str] = {
    "healthy": "🟢", "unknown": "⚪", "unwatched": "🟠", "at_risk": "🟠",
    "damaged": "🔴", "collapsed": "🔴", "diverged": "🔴",
}  # fmt: skip
_ACKNOWLEDGED_MARK = "🟡"


class AlertItem(NamedTuple):
    """One alert of a list, or the alerts of one incident.

    ``note`` has its severity, its state and the step at which it was opened.
    """

    mark: str
    title: str
    details: str
    note: str
    opened_at: datetime
    url: str
    alert_count: int = 1


class NotificationText(NamedTuple):
    """A notification as text. ``omitted`` counts the alerts that are not in ``items``."""

    mark: str
    headline: str
    lead: str
    items: list[AlertItem]
    omitted: int
    url: str

    def without_last_item(self) -> NotificationText:
        """Return the same text with one item less."""
        return self._replace(items=self.items[:-1], omitted=self.omitted + self.items[-1].alert_count)


class _Heading(NamedTuple):
    mark: str
    headline: str
    lead: str = ""


def render_text(notification: Notification) -> NotificationText:
    """Return a notification as text. An unknown event is rendered as its name."""
    render_heading = _HEADINGS.get(notification.event, _unknown_event)
    heading = render_heading(notification)
    alerts = notification.alerts
    if not alerts and notification.summary:
        alerts = notification.summary.ended_alerts
    items = _items(alerts)[:MAX_ITEMS]
    omitted = 0
    if notification.alerts:
        omitted = max(notification.total, len(alerts)) - sum(item.alert_count for item in items)
    return NotificationText(
        mark=heading.mark,
        headline=printable(heading.headline),
        lead=printable(heading.lead),
        items=items,
        omitted=omitted,
        url=notification.url,
    )


def printable(text: str) -> str:
    """Return the text in one line, without control characters and without marks that change its direction."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units, as Slack and Discord count; never less than in characters."""
    return len(text) + sum(char > "\uffff" for char in text)


def fit(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """Return the escaped text, cut to ``limit`` UTF-16 code units with an ellipsis. No escape sequence is cut."""
    escaped = escape(text)
    if utf16_length(escaped) <= limit:
        return escaped
    shortened = text[:limit]
    while shortened and (excess := utf16_length(escape(shortened)) + 1 - limit) > 0:
        shortened = shortened[: -max(1, excess // _LONGEST_ESCAPE)]
    return escape(shortened) + "…"


def link_url(url: str) -> str:
    """Return a URL without the characters that end a link in Slack's or Discord's markup."""
    return url.translate({ord(char): f"%{ord(char):02X}" for char in ' <>|()"`\\'})


def compact_json(document: Any) -> str:
    """Return a document as JSON without white space."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _items(alerts: Sequence[Alert]) -> list[AlertItem]:
    """Return one item for each incident, in the order of its worst alert."""
    incidents: dict[str, list[Alert]] = {}
    for alert in by_severity(alerts):
        incidents.setdefault(alert.incident_id, []).append(alert)
    return [_item(members[0]) if len(members) == 1 else _incident_item(members) for members in incidents.values()]


def _incident_item(alerts: Sequence[Alert]) -> AlertItem:
    """Return several alerts of an incident as one item: its layers, and what the alert says that explains them."""
    lead = lead_of(alerts)
    layers = [label_of(alert) for alert in sorted(alerts, key=lambda alert: (alert.opened_step, alert.layer_id))]
    names = ", ".join(layers[:_MAX_NAMES])
    if len(layers) > _MAX_NAMES:
        names += f" and {len(layers) - _MAX_NAMES:,} more"
    item = _item(lead)
    states = {alert.state for alert in alerts}
    state = states.pop() if len(states) == 1 else "open"
    opened_step = min(alert.opened_step for alert in alerts)
    return item._replace(
        mark=_end_mark(alerts) if state == "resolved" else _MARKS[severity_of(alerts)],
        title=printable(incident_title(alerts)),
        details=printable(f"{names}. {lead.title}: {item.details}"),
        note=printable(f"{severity_of(alerts)} · {state} · since step {opened_step:,}"),
        alert_count=len(alerts),
    )


def _item(alert: Alert) -> AlertItem:
    if alert.state == "resolved":
        mark = _end_mark([alert])
    elif alert.state == "acknowledged":
        mark = _ACKNOWLEDGED_MARK
    else:
        mark = _MARKS[alert.severity]
    return AlertItem(
        mark=mark,
        title=printable(alert.title),
        details=_details(alert),
        note=printable(f"{alert.severity} · {_state(alert)} · since step {alert.opened_step:,}"),
        opened_at=datetime.fromisoformat(alert.opened_at),
        url=alert.url,
    )


def _state(alert: Alert) -> str:
    """Return the state, with author and note of an acknowledgement. A note is cut: it may fill a page."""
    acknowledged = alert.acknowledged
    if acknowledged is None or alert.state != "acknowledged":
        return alert.state
    note = f": {acknowledged.note[:_MAX_NOTE_CHARS]}" if acknowledged.note else ""
    return f"acknowledged by {acknowledged.author[:_MAX_AUTHOR_CHARS]}{note}"


def _details(alert: Alert) -> str:
    """Return the message without the severity, run and title that it begins with, because they stand beside it."""
    if alert.state == "resolved":
        at_step = "" if alert.resolved_step is None else f" at step {alert.resolved_step:,}"
        reason = "" if alert.resolved_reason is None else f" ({alert.resolved_reason})"
        return printable(f"{_end_word([alert]).capitalize()}{at_step}{reason}.")
    _, separator, rest = alert.message.partition(f" · {alert.title}")
    if not separator:
        return printable(alert.message)
    details = printable(rest.lstrip(" .:"))
    return details[:1].upper() + details[1:]


def _firing(notification: Notification) -> _Heading:
    alerts = by_severity(notification.alerts)
    critical = sum(alert.severity == "critical" for alert in alerts)
    what = f"{notification.total:,} alerts"
    if notification.total == len(alerts) and len({alert.incident_id for alert in alerts}) == 1:
        what = incident_title(alerts)
    elif critical and notification.total == len(alerts):
        what += f", {critical:,} critical"
    return _Heading(_MARKS[alerts[0].severity], f"{_run_name(alerts[0])}: {what}")


def _resolved(notification: Notification) -> _Heading:
    alert = notification.alerts[0]
    word = _end_word(notification.alerts)
    title = past_title(alert.title) if word == "recovered" else alert.title
    what = f"{title}: {word}" if notification.total == 1 else f"{notification.total:,} alerts {word}"
    return _Heading(_end_mark(notification.alerts), f"{_run_name(alert)}: {what}")


def _end_word(alerts: Sequence[Alert]) -> str:
    """Return how alerts ended: they recovered only where every one of them did."""
    outcomes = {alert.outcome for alert in alerts}
    if outcomes == {"recovered"}:
        return "recovered"
    return "closed" if outcomes == {"closed"} else "resolved"


def _end_mark(alerts: Sequence[Alert]) -> str:
    return _RECOVERED_MARK if _end_word(alerts) == "recovered" else _CLOSED_MARK


def _acknowledged(notification: Notification) -> _Heading:
    alert = by_severity(notification.alerts)[0]
    what = f"{notification.total:,} alerts are acknowledged"
    if notification.total == 1:
        what = f"{alert.title}: acknowledged"
    return _Heading(_ACKNOWLEDGED_MARK, f"{_run_name(alert)}: {what}")


def _run_finished(notification: Notification) -> _Heading:
    summary = notification.summary
    if summary is None:
        return _unknown_event(notification)
    at_step = "" if summary.last_step is None else f" at step {summary.last_step:,}"
    name = f"{summary.project}/{summary.name or summary.run_id[:13]}"
    mark = _MARKS["critical"] if summary.status == "failed" else _HEALTH_MARKS[summary.health]
    health = summary.health.replace("_", " ")
    return _Heading(mark, f"{name} {summary.status}{at_step}: {health}", _run_health(summary))


def _run_health(summary: RunSummary) -> str:
    """Return two sentences: the state of the layers, and the alerts by severity."""
    layers = f"{summary.layers:,} layers"
    dead = len(summary.dead_layers)
    names = ", ".join(summary.dead_layers[:_MAX_NAMES])
    if dead > _MAX_NAMES:
        names += " …"
    if dead:
        losses = f"{dead:,} of {layers} ended dead: {names}."
    elif summary.health_reason is not None:
        losses = f"{summary.health_reason[0].upper()}{summary.health_reason[1:]}."
    else:
        losses = f"No layer was lost ({layers}, {summary.units:,} units)."
    counts = ", ".join(f"{number:,} {severity}" for severity, number in summary.alert_counts.items() if number)
    alerts = f"Alerts: {counts}." if counts else "No alert was raised."
    return f"{losses} {alerts}"


def _test(_: Notification) -> _Heading:
    return _Heading(_RECOVERED_MARK, "Relumine reaches you here", "This is a test notification: nothing is wrong.")


def _webhook_disabled(notification: Notification) -> _Heading:
    webhook = notification.webhook
    if webhook is None:
        return _unknown_event(notification)
    lead = f"Webhook {webhook.webhook_id} was disabled: {webhook.reason}. Enable it when its receiver answers again."
    return _Heading(_MARKS["warning"], f"Relumine no longer notifies {webhook.host}", lead)


def _unknown_event(notification: Notification) -> _Heading:
    return _Heading(_MARKS["info"], notification.event)


def _run_name(alert: Alert) -> str:
    return f"{alert.project}/{alert.run.name or alert.run_id[:13]}"


_HEADINGS: dict[str, Callable[[Notification], _Heading]] = {
    "alert.firing": _firing,
    "alert.resolved": _resolved,
    "alert.acknowledged": _acknowledged,
    "run.finished": _run_finished,
    "webhook.test": _test,
    "webhook.disabled": _webhook_disabled,
}
