"""News in words for a person: what, where, since when, why, what to do, and where to read on.

The same words for every chat; how they are set, escaped and cut is the format's own business. Names come from
trainings, so anything may be in them: what is not printable becomes a space here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from relumine.views import Alert, RunSummary
from relumine_server.webhooks.formats.worst import worst_first
from relumine_server.webhooks.news import News

MAX_ITEMS = 10  # a person reads no longer list in a chat
_MAX_NAMES = 5
_MAX_NOTE_CHARS = 120
_MAX_AUTHOR_CHARS = 60
_MARKS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_OVER, _TAKEN = "🟢", "🟡"


class Item(NamedTuple):
    """One alert of a list. ``since`` is its opening, of which ``note`` says the step."""

    mark: str
    title: str
    story: str
    note: str
    since: datetime
    url: str


class Words(NamedTuple):
    """The whole of it. ``more`` counts the alerts that are not in ``items``; a single item has no headline above it."""

    mark: str
    headline: str
    lead: str
    items: list[Item]
    more: int
    url: str

    def shorter(self) -> Words:
        """The same with one item less."""
        return self._replace(items=self.items[:-1], more=self.more + 1)


def worded(news: News) -> Words:
    """The news in words. An event that nobody foresaw is told as what it is called."""
    tell = _TELLERS.get(news.event, _unforeseen)
    mark, headline, lead = tell(news)
    worst = list(news.summary.worst) if news.summary and not news.alerts else news.alerts
    items = [_item(alert) for alert in worst_first(worst)[:MAX_ITEMS]]
    more = max(news.total, len(news.alerts)) - len(items) if news.alerts else 0
    return Words(mark, printable(headline), printable(lead), items, max(more, 0), news.url)


def printable(text: str) -> str:
    """The text in one line, without control characters and marks that turn its direction."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _item(alert: Alert) -> Item:
    opened = datetime.fromisoformat(alert.opened_at)
    note = f"{alert.severity} · {_state(alert)} · since step {alert.opened_step:,}"
    mark = _OVER if alert.state == "resolved" else _TAKEN if alert.state == "acknowledged" else _MARKS[alert.severity]
    return Item(mark, printable(alert.title), _story(alert), printable(note), opened, alert.url)


def _state(alert: Alert) -> str:
    """How it stands, and who is on it. What a person wrote is cut: it can be a page."""
    taken = alert.acknowledged
    if taken is None or alert.state != "acknowledged":
        return alert.state
    said = f": {taken.note[:_MAX_NOTE_CHARS]}" if taken.note else ""
    return f"acknowledged by {taken.author[:_MAX_AUTHOR_CHARS]}{said}"


def _story(alert: Alert) -> str:
    """What is said behind the title: the message without the run, title and step that it begins with."""
    if alert.state == "resolved":
        since = "" if alert.resolved_step is None else f" since step {alert.resolved_step:,}"
        return printable(f"Over{since} ({alert.resolved_reason or 'resolved'}).")
    _, found, rest = alert.message.partition(f" · {alert.title}")
    return printable(re.sub(r"^ \(step [\d,]+\)\.", "", rest).lstrip(" .:") if found else alert.message)


def _fired(news: News) -> tuple[str, str, str]:
    worst = worst_first(news.alerts)[0]
    critical = sum(alert.severity == "critical" for alert in news.alerts)
    count = f"{news.total:,} alerts" + (
        f", {critical:,} critical" if critical and news.total == len(news.alerts) else ""
    )
    return _MARKS[worst.severity], f"{_where(worst)}: {worst.title if news.total == 1 else count}", ""


def _over(news: News) -> tuple[str, str, str]:
    alert = news.alerts[0]
    what = f"{alert.title}: over" if news.total == 1 else f"{news.total:,} alerts are over"
    return _OVER, f"{_where(alert)}: {what}", ""


def _taken(news: News) -> tuple[str, str, str]:
    alert = worst_first(news.alerts)[0]
    what = f"{alert.title}: acknowledged" if news.total == 1 else f"{news.total:,} alerts are acknowledged"
    return _TAKEN, f"{_where(alert)}: {what}", ""


def _finished(news: News) -> tuple[str, str, str]:
    summary = news.summary
    if summary is None:
        return _unforeseen(news)
    at = "" if summary.last_step is None else f" at step {summary.last_step:,}"
    name = f"{summary.project}/{summary.name or summary.run_id[:13]}"
    mark = _MARKS["critical"] if summary.lost or summary.state == "failed" else _OVER
    return mark, f"{name} {summary.state}{at}", " ".join(_health(summary))


def _health(summary: RunSummary) -> list[str]:
    """How the run ended, in a few sentences."""
    lost = len(summary.lost)
    names = ", ".join(summary.lost[:_MAX_NAMES]) + (" …" if lost > _MAX_NAMES else "")
    layers, units = f"{summary.layers:,} layers", f"{summary.units:,} units"
    counts = ", ".join(f"{n:,} {severity}" for severity, n in summary.alerts.items() if n)
    return [
        f"{lost:,} of {layers} ended dead: {names}." if lost else f"No layer was lost ({layers}, {units}).",
        f"Alerts: {counts}." if counts else "No alert was raised.",
    ]


def _tried(_: News) -> tuple[str, str, str]:
    return _OVER, "Relumine reaches you here", "This is a test that somebody asked for: nothing is wrong."


def _disabled(news: News) -> tuple[str, str, str]:
    webhook = news.webhook
    if webhook is None:
        return _unforeseen(news)
    lead = f"Webhook {webhook.webhook_id} was disabled: {webhook.reason}. Enable it when its receiver answers again."
    return _MARKS["warning"], f"Relumine no longer notifies {webhook.host}", lead


def _unforeseen(news: News) -> tuple[str, str, str]:
    return _MARKS["info"], news.event, ""


def _where(alert: Alert) -> str:
    return f"{alert.project}/{alert.run.name or alert.run_id[:13]}"


_TELLERS: dict[str, Callable[[News], tuple[str, str, str]]] = {
    "alert.firing": _fired,
    "alert.resolved": _over,
    "alert.acknowledged": _taken,
    "run.finished": _finished,
    "webhook.test": _tried,
    "webhook.disabled": _disabled,
}
