"""The start line and the closing line of a run. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relumine._runtime.text import plural
from relumine.schemas.alert import ENDED_WITH_RUN, Alert
from relumine.schemas.upload import Coverage


def started(coverage: Coverage, label: str, url: str) -> str:
    """Return the start line: what is observed, of how much, and where the run's page is."""
    if not coverage.watched and coverage.cannot_die:
        return f"none of the {plural(coverage.cannot_die, 'activation')} of {label} can die: nothing to watch"
    if not coverage.watched:
        return f"no activation was observed in the first step of {label}: is the model called, in training mode?"
    relus = f"{coverage.watched}/{coverage.watched + len(coverage.unused)} ReLUs"
    if coverage.unused:
        relus += f" (not used: {', '.join(coverage.unused[:3])})"
    return f"{relus}, {coverage.units:,} units, watching {label} at {url}"


def other_rank(rank: int, world_size: int) -> str:
    """Return the line of a process that is not watched, because it trains the model of rank 0."""
    return f"rank {rank} of {world_size} is not watched: rank 0 watches the training of all"


def finished(label: str, alerts: Sequence[Alert], stats: dict[str, Any], url: str) -> str:
    """Return the closing line: the state of the layers, or that it is unknown. ``stats`` are ``Monitor.sdk_stats``."""
    sampled_steps = stats["sampled_steps"]
    spooled_steps = stats["spooled_steps"]
    if not stats["acked_records"] and spooled_steps:
        return f"{label}: no upload reached the server, {plural(spooled_steps, 'sampled step')} spooled on disk"
    if not stats["acked_records"]:
        return f"{label}: no upload reached the server, nothing is known of its layers ({sampled_steps} steps sampled)"
    lost_steps = sum(stats["dropped_steps"].values()) + stats["pending_steps"]
    note = f"; {plural(lost_steps, 'sampled step')} not delivered" if lost_steps else ""
    worrying = [alert for alert in alerts if alert.severity != "info"]
    if not worrying:
        return f"{label}: no layer was lost, {sampled_steps} of {stats['steps']} steps sampled{note}. {url}"
    listed = ", ".join(_summary(alert) for alert in worrying[:5])
    return f"{label}: {plural(len(worrying), 'alert')}: {listed}{note}. {url}"


def _summary(alert: Alert) -> str:
    state = "open to the end" if alert.resolved_reason in ENDED_WITH_RUN else alert.state
    return f"{alert.layer or 'the run'} {alert.kind.replace('_', ' ')} (step {alert.opened_step:,}, {state})"
