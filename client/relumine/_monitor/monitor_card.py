"""A monitor as a card for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relumine.schemas import notebook
from relumine.schemas.alert import Alert, severity_rank
from relumine.schemas.health import Health

ALERT_COLUMNS = ("severity", "state", "alert", "step")


def html(label: str, health: Health, alerts: Sequence[Alert], stats: Mapping[str, Any], url: str) -> str:
    """Return the run, its health with the reason, and its alerts: open ones first, the most severe first."""
    lines = [health.reason or ""]
    if stats:
        lines.append(f"{stats['sampled_steps']:,} of {stats['steps']:,} steps sampled")
    listed = sorted(alerts, key=lambda alert: (not alert.is_open, -severity_rank(alert.severity), alert.opened_step))
    rows = [
        [
            notebook.label(alert.severity),
            notebook.text(alert.state),
            notebook.text(alert.title),
            notebook.text(f"{alert.opened_step:,}"),
        ]
        for alert in listed
    ]
    page = notebook.link(url) if url else ""
    return notebook.card(label, health.status, lines, notebook.table(ALERT_COLUMNS, rows), page)
