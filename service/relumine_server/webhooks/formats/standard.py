"""The ``standard`` format: ``{type, timestamp, data}`` of Standard Webhooks, always below 20 kB.

``data`` has the same fields for every event: ``run, alerts, total, url, summary, webhook``; what an event does not
speak of is null or empty. The worst 20 alerts are carried, as the API answers them; where even those are too
long, evidence is left out first, then whole alerts.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from relumine_server.webhooks.formats.fitting import compact
from relumine_server.webhooks.formats.worst import worst_first
from relumine_server.webhooks.news import News

MAX_ALERTS = 20
MAX_BODY_BYTES = 20_000  # what Standard Webhooks lets a receiver expect


def body(news: News) -> str:
    """The news as one document, cut down until it is short enough."""
    carried = [alert.model_dump(mode="json") for alert in worst_first(news.alerts)[:MAX_ALERTS]]
    summary = None if news.summary is None else news.summary.model_dump(mode="json")
    text = _written(news, carried, summary)
    while len(text.encode()) >= MAX_BODY_BYTES:
        _shorten(carried, summary)
        text = _written(news, carried, summary)
    return text


def _shorten(carried: list[dict[str, Any]], summary: dict[str, Any] | None) -> None:
    """Take away one thing, the least needed first. Ends: names are short, the rest can be halved away."""
    if summary and summary["worst"]:
        summary["worst"].pop()
        return
    if summary and summary["lost"]:
        summary["lost"] = summary["lost"][: len(summary["lost"]) // 2]
        return
    for alert in reversed(carried):
        if alert["evidence"]:
            alert["evidence"] = {}
            return
    if len(carried) > 1:
        carried.pop()
        return
    if carried:
        _clip(carried[0])


def _clip(alert: dict[str, Any]) -> None:
    """Halve what people and messages say, whatever they fill it with."""
    alert["remedies"] = []
    said = alert["acknowledged"] or {"note": ""}
    for holder, name in ((alert, "title"), (alert, "message"), (said, "note")):
        holder[name] = holder[name][: len(holder[name]) // 2]


def _written(news: News, carried: list[dict[str, Any]], summary: dict[str, Any] | None) -> str:
    timestamp = news.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    data = {
        "run": _run(news),
        "alerts": carried,
        "total": news.total,
        "url": news.url,
        "summary": summary,
        "webhook": news.webhook and news.webhook._asdict(),
    }
    document = {"type": news.event, "timestamp": timestamp, "data": data}
    return compact(document)


def _run(news: News) -> dict[str, Any] | None:
    """The run that the news is of, as alerts name it."""
    if news.alerts:
        alert = news.alerts[0]
        return {"run_id": alert.run_id, "project": alert.project, **alert.run.model_dump(mode="json")}
    if news.summary:
        return news.summary.model_dump(mode="json", include={"run_id", "project", "name", "group", "url"})
    return None
