"""Incidents as the server answers them, and their titles. One definition for the server and the SDK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from relumine.schemas.alert import Alert, AlertRun, AlertState, Cause, Kind, Remedy, Severity, severity_rank
from relumine.schemas.base import View

IncidentState: TypeAlias = Literal["open", "ended", "resolved"]
"""``open`` while one of its alerts is open; ``ended`` where its run ended with one of them."""

Stage: TypeAlias = tuple[int, int]
"""The rank of a severity, and how far the problem has gone."""

_PROGRESS: Mapping[Kind, int] = MappingProxyType({"dead": 1, "born_dead": 1, "constant_output": 2, "diverged": 3})
_STATES_OF_LAYERS: tuple[tuple[Kind, str], ...] = (
    ("dead", "dead"),
    ("born_dead", "born dead"),
    ("dying", "dying"),
    ("no_data", "no longer observed"),
)
_RUN_PROBLEMS: tuple[tuple[Kind, str], ...] = (
    ("diverged", "values are not finite"),
    ("constant_output", "the output no longer depends on the input"),
)


class IncidentLayer(View):
    """An alert of an incident. ``layer_id`` 0 and a null ``layer`` stand for the run itself."""

    alert_id: str
    layer: str | None
    layer_id: int
    kind: Kind
    state: AlertState
    severity: Severity
    opened_step: int


class Incident(View):
    """The alerts of a run that have one cause and whose onsets lie together.

    ``layers`` are its alerts in the order of their onsets, at most the first 100 of ``alert_count``. ``remedy`` is the
    one to try first: that of the alert which explains the others.
    """

    id: str
    run_id: str
    project: str
    run: AlertRun
    state: IncidentState
    severity: Severity
    cause: Cause
    opened_step: int
    opened_at: str
    updated_at: str
    title: str
    message: str
    url: str
    alert_count: int
    layers: list[IncidentLayer]
    remedy: Remedy | None


def lead_of(alerts: Sequence[Alert]) -> Alert:
    """Return the alert that explains the others: not inhibited, not starved from upstream, the first to begin."""

    def rank(alert: Alert) -> tuple[bool, bool, bool, int, int]:
        is_run_level = alert.layer_id == 0
        is_starved = alert.cause == "upstream_collapse"
        return alert.inhibited_by is not None, is_starved, is_run_level, alert.opened_step, alert.layer_id

    return min(alerts, key=rank)


def incident_title(alerts: Sequence[Alert], total: int | None = None) -> str:
    """Return the title of an incident: that of its only alert, or its layers by state, the worst first.

    ``total`` counts its alerts where ``alerts`` are only some of them.
    """
    if len(alerts) == 1 and total in (None, 1):
        return alerts[0].title
    counts = Counter(alert.kind for alert in alerts if alert.layer_id)
    parts = [f"{counts[kind]:,} {word}" for kind, word in _STATES_OF_LAYERS if counts[kind]]
    title = ""
    if parts:
        first = min(
            (alert for alert in alerts if alert.layer_id), key=lambda alert: (alert.opened_step, alert.layer_id)
        )
        noun = "layer" if sum(counts.values()) == 1 else "layers"
        title = f"{noun} lost: {', '.join(parts)}; first {first.layer} at step {first.opened_step:,}"
        title = title[0].upper() + title[1:]
    run_problems = [text for kind, text in _RUN_PROBLEMS if any(alert.kind == kind for alert in alerts)]
    unlisted = 0 if total is None else total - len(alerts)
    more = [f"{unlisted:,} more alerts"] if unlisted > 0 else []
    return ", ".join([part for part in [title, *run_problems, *more] if part]) or alerts[0].title


def incident_message(alerts: Sequence[Alert], total: int | None = None) -> str:
    """Return the message of an incident: its severity and title, and the cause and fix of its leading alert."""
    lead = lead_of(alerts)
    if len(alerts) == 1 and total in (None, 1):
        return lead.message
    severity = max((alert.severity for alert in alerts), key=severity_rank).upper()
    run = f"{lead.project}/{lead.run.name or lead.run_id[:13]}"
    details = lead.message.partition(" · ")[2] or lead.message
    return f"{severity} {run} · {incident_title(alerts, total)}. {details}"


def stage(kind: Kind, severity: Severity) -> Stage:
    """Return how bad an alert is; receivers are notified of an incident again where this rises."""
    return severity_rank(severity), _PROGRESS.get(kind, 0)
