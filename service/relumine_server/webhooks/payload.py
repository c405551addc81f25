"""The body of a notification: ``{type, timestamp, data: {run, alerts, total, url}}``, always below 20 kB.

Pure: alerts in, text out. The worst 20 alerts are carried; ``total`` says how many there are, ``url`` where
to read them all. Where even those are too long, evidence is left out first, then whole alerts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from relumine.views import Alert

MAX_ALERTS = 20
MAX_BODY_BYTES = 20_000  # what Standard Webhooks lets a receiver expect
_CLIPPED_CHARS = 1_000

_SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}
_STATE_RANK = {"firing": 0, "regressed": 0, "pending": 1, "acknowledged": 2, "resolved": 3}


def alerts_body(event: str, at: datetime, alerts: Sequence[Alert]) -> str:
    """The body that tells of alerts of one run. Raises ValueError without an alert."""
    if not alerts:
        raise ValueError("a notification about alerts needs one")
    worst = sorted(alerts, key=_badness)[:MAX_ALERTS]
    carried = [alert.model_dump(mode="json") for alert in worst]
    body = _written(event, at, worst[0], carried, len(alerts))
    while len(body.encode()) >= MAX_BODY_BYTES:
        _shorten(carried)
        body = _written(event, at, worst[0], carried, len(alerts))
    return body


def probe_body(at: datetime, url: str) -> str:
    """The body of ``webhook.test``: the same shape, with no alert in it."""
    return _json("webhook.test", at, {"run": None, "alerts": [], "total": 0, "url": url})


def _badness(alert: Alert) -> tuple[int, int, float, int, str]:
    return (
        _SEVERITY_RANK[alert.severity],
        _STATE_RANK[alert.state],
        -alert.confidence,
        alert.layer_id,
        alert.kind,
    )


def _shorten(carried: list[dict[str, Any]]) -> None:
    """Take away one thing, the least needed first. Ends: one clipped alert is far below the limit."""
    for alert in reversed(carried):
        if alert["evidence"]:
            alert["evidence"] = {}
            return
    if len(carried) > 1:
        carried.pop()
        return
    alert = carried[0]
    alert["remedies"] = []
    alert["title"] = alert["title"][:_CLIPPED_CHARS]
    alert["message"] = alert["message"][:_CLIPPED_CHARS]


def _written(event: str, at: datetime, worst: Alert, carried: list[dict[str, Any]], total: int) -> str:
    run = {"run_id": worst.run_id, "project": worst.project, **worst.run.model_dump(mode="json")}
    return _json(event, at, {"run": run, "alerts": carried, "total": total, "url": worst.run.url})


def _json(event: str, at: datetime, data: dict[str, Any]) -> str:
    timestamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    body = {"type": event, "timestamp": timestamp, "data": data}
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
