"""Incidents as the server answers them, and their titles. One definition for the server and the SDK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias, TypeVar

from relumine.schemas.alert import Alert, AlertRun, AlertState, Cause, Kind, Outcome, Remedy, Severity, severity_rank
from relumine.schemas.base import View
from relumine.schemas.layer_label import MAX_LABEL_CHARS, shortened

IncidentState: TypeAlias = Literal["open", "ended", "resolved"]
"""``open`` while one of its alerts is open; ``ended`` where its run ended with one of them."""

Stage: TypeAlias = tuple[int, int]
"""The rank of a severity, and how far the problem has gone."""

_PROGRESS: Mapping[Kind, int] = MappingProxyType({"dead": 1, "born_dead": 1, "constant_output": 2, "diverged": 3})
_STATES_OF_LAYERS: tuple[tuple[Kind, tuple[str, str]], ...] = (
    ("dead", ("is dead", "are dead")),
    ("born_dead", ("was born dead", "were born dead")),
    ("dying", ("is dying", "are dying")),
    ("no_data", ("is no longer observed", "are no longer observed")),
)
"""The kinds of a layer's alerts, the worst first, with the verb for one layer and for several."""
_PAST_VERBS: Mapping[str, str] = MappingProxyType({"is": "was", "are": "were", "depends": "depended"})
_RUN_PROBLEMS: tuple[tuple[Kind, str], ...] = (
    ("diverged", "values are not finite"),
    ("constant_output", "the output no longer depends on the input"),
)


class IncidentLayer(View):
    """An alert of an incident. ``layer_id`` 0 and a null ``layer`` stand for the run itself."""

    alert_id: str
    layer: str | None
    layer_label: str | None
    layer_id: int
    kind: Kind
    state: AlertState
    severity: Severity
    opened_step: int


class Incident(View):
    """The alerts of a run that have one cause and whose onsets lie together.

    ``layers`` are its alerts in the order of their onsets, at most the first 100 of ``alert_count``. ``remedy`` is the
    one to try first: that of the alert which explains the others, as are ``outcome``, ``resolved_reason`` and
    ``silenced_by``.
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
    outcome: Outcome | None
    resolved_reason: str | None
    silenced_by: str | None


class IncidentAlert(Protocol):
    """Fields of an alert that the title of an incident needs."""

    @property
    def layer_id(self) -> int: ...  # noqa: D102 - as in the alert
    @property
    def layer_label(self) -> str | None: ...  # noqa: D102
    @property
    def kind(self) -> Kind: ...  # noqa: D102
    @property
    def cause(self) -> Cause: ...  # noqa: D102
    @property
    def severity(self) -> Severity: ...  # noqa: D102
    @property
    def state(self) -> AlertState: ...  # noqa: D102
    @property
    def opened_step(self) -> int: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def inhibited_by(self) -> str | None: ...  # noqa: D102


IncidentAlertT = TypeVar("IncidentAlertT", bound=IncidentAlert)


def lead_of(alerts: Sequence[IncidentAlertT]) -> IncidentAlertT:
    """Return the alert that explains the others: it holds, is not inhibited or starved, and was the first to begin."""

    def rank(alert: IncidentAlertT) -> tuple[bool, bool, bool, bool, int, int]:
        return (
            alert.state == "resolved",
            alert.inhibited_by is not None,
            alert.cause == "upstream_collapse",
            alert.layer_id == 0,
            alert.opened_step,
            alert.layer_id,
        )

    return min(alerts, key=rank)


def severity_of(alerts: Sequence[IncidentAlert]) -> Severity:
    """Return the worst severity of the alerts that hold, or of all where none does."""
    holding = [alert for alert in alerts if alert.state != "resolved"]
    return max((alert.severity for alert in holding or alerts), key=severity_rank)


def incident_title(alerts: Sequence[IncidentAlert], counts: Mapping[Kind, int] | None = None) -> str:
    """Return the title of an incident: that of its only alert, or the number of its layers by state, the worst first.

    ``counts`` are the numbers of its alerts by kind where ``alerts`` are only some of them.
    """
    if counts is None:
        counts = Counter(alert.kind for alert in alerts)
    if sum(counts.values()) == 1:
        return alerts[0].title
    parts = [_layers(counts[kind], verbs) for kind, verbs in _STATES_OF_LAYERS if counts.get(kind)]
    title = ", ".join(parts)
    of_layers = [alert for alert in alerts if alert.layer_id]
    if parts and of_layers:
        first = min(of_layers, key=lambda alert: (alert.opened_step, alert.layer_id))
        title += f", the first is {label_of(first)} at step {first.opened_step:,}"
    run_problems = [text for kind, text in _RUN_PROBLEMS if counts.get(kind)]
    title = "; ".join([part for part in (title, *run_problems) if part]) or alerts[0].title
    return title[0].upper() + title[1:]


def past_title(title: str) -> str:
    """Return the title of a problem that is over: *fc2 was dying*."""
    for present, past in _PAST_VERBS.items():
        title = title.replace(f" {present} ", f" {past} ")
    return title


def incident_message(lead: Alert, title: str, severity: Severity) -> str:
    """Return the message of an incident of several alerts: severity, title, and what its leading alert says."""
    run = f"{lead.project}/{lead.run.name or lead.run_id[:13]}"
    details = lead.message.partition(" · ")[2] or lead.message
    if details.startswith("layer "):  # a word; the name of a module, such as fc2, keeps its letters
        details = details[0].upper() + details[1:]
    return f"{severity.upper()} {run} · {title}. {details}"


def _layers(count: int, verbs: tuple[str, str]) -> str:
    noun, verb = ("layer", verbs[0]) if count == 1 else ("layers", verbs[1])
    return f"{count:,} {noun} {verb}"


def label_of(alert: IncidentAlert) -> str:
    """Return the name of a layer for people, as the title of its alert has it."""
    return "the run" if alert.layer_label is None else shortened(alert.layer_label, MAX_LABEL_CHARS)


def stage(kind: Kind, severity: Severity) -> Stage:
    """Return how bad an alert is; receivers are notified of an incident again where this rises."""
    return severity_rank(severity), _PROGRESS.get(kind, 0)
