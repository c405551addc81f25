"""The two lines a person reads: one when watching begins, one when it ends. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relumine.views import ENDED_WITH_RUN, Alert
from relumine.wire import Coverage


def opening(coverage: Coverage, label: str, url: str) -> str:
    """What is seen, of how much, and where to look."""
    if coverage.cannot_die and not coverage.watched:
        return f"{coverage.cannot_die} activations seen, none of them can die: nothing to watch in {label}"
    if not coverage.watched:
        return f"no activation was seen in the first step of {label}: is the model called, in training mode?"
    found = coverage.watched + len(coverage.unused)
    idle = f" (not used: {', '.join(coverage.unused[:3])})" if coverage.unused else ""
    return f"{coverage.watched}/{found} ReLUs{idle}, {coverage.units:,} units, watching {label} at {url}"


def closing(label: str, alerts: Sequence[Alert], stats: dict[str, Any], url: str) -> str:
    """What became of the units, or that nobody could tell."""
    if stats.get("kept") and not stats.get("acknowledged"):
        return f"{label}: the server took nothing, {stats['kept']} records are kept on disk"
    if not stats.get("uploads") or not stats.get("acknowledged"):
        return f"{label}: nothing was received, so nothing can be said ({stats.get('samples', 0)} samples taken)"
    lost = sum(stats["dropped"].values()) + stats["waiting"]
    note = f"; {lost} records were not delivered" if lost else ""
    told = [alert for alert in alerts if alert.severity != "info"]
    if not told:
        return f"{label}: no layer was lost, {stats['samples']} of {stats['steps']} steps looked at{note}. {url}"
    worst = [_in_words(alert) for alert in told]
    return f"{label}: {len(told)} alert{'s' if len(told) > 1 else ''}: {', '.join(worst[:5])}{note}. {url}"


def _in_words(alert: Alert) -> str:
    state = "open to the end" if alert.resolved_reason in ENDED_WITH_RUN else alert.state
    return f"{alert.layer or 'the run'} {alert.kind.replace('_', ' ')} (step {alert.opened_step:,}, {state})"
