"""Alerts and silences as the server answers them. One definition for the server and for ``Client``.

Output models have no defaults: a field that is missing is a bug, not a null. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from relumine.schemas import notebook
from relumine.schemas.base import View
from relumine.schemas.printable import printable

Kind: TypeAlias = Literal["dying", "dead", "born_dead", "constant_output", "diverged", "no_data", "stalled"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the most severe."""
Cause: TypeAlias = Literal[
    "high_learning_rate",
    "negative_bias",
    "bad_initialization",
    "input_shift",
    "input_scale",
    "upstream_collapse",
    "unknown",
]
AlertState: TypeAlias = Literal["pending", "firing", "acknowledged", "resolved", "ended", "regressed"]
OPEN_STATES: tuple[AlertState, ...] = ("pending", "firing", "acknowledged", "regressed")
"""States of an alert whose problem holds while its run goes on."""
AlertEventName: TypeAlias = Literal[
    "raised", "pending", "escalated", "updated", "cleared", "confirmed", "regressed",
    "acknowledged", "resolved_by_user", "run_ended", "run_resumed", "resumed_acknowledged",
]  # fmt: skip
"""Events that change the state of an alert; docs/alerts.md describes each."""
Outcome: TypeAlias = Literal[
    "recovered", "closed", "unknown", "unwatched", "healthy", "at_risk", "damaged", "collapsed", "diverged"
]
"""How an alert ended: its problem passed, a person closed it, or the run ended with it and with this health."""
LASTING: frozenset[Kind] = frozenset({"dead", "born_dead", "constant_output", "diverged", "stalled"})
"""Kinds whose problem does not end because a person closes its alert: only what is measured afterwards ends it."""
PROBLEMS: Mapping[Kind, Kind] = MappingProxyType({"dead": "dying"})
"""Kinds that an alert of another kind escalates to: a layer that dies and is dead has one alert."""

RemedyOutcome: TypeAlias = Literal["effective", "ineffective", "inconclusive"]


def severity_rank(severity: Severity) -> int:
    """Return the rank of a severity: 0 for ``info``, higher for more severe."""
    return SEVERITIES.index(severity)


def problem_of(kind: Kind) -> Kind:
    """Return the kind that names the problem in the id of its alert: ``dying`` for ``dead``, else the kind itself."""
    return PROBLEMS.get(kind, kind)


class AlertRun(View):
    """The run an alert belongs to."""

    name: str | None
    group: str | None
    url: str


class Remedy(View):
    """A proposed action, with its number.

    ``function`` is the function of ``relumine.remedies`` of the same name, null for what only a person can do. ``code``
    is to be pasted into the training: it names ``model``, ``optimizer`` and ``inputs``.
    """

    action: str
    function: str | None
    code: str
    parameter: str | None
    value: float | None
    reason: str


class Forecast(View):
    """The step at which half of the layer will be dead at the present rate, and its 80 % interval."""

    step: int
    low: int
    high: int
    confidence: float
    eta_s: float | None


class Acknowledgement(View):
    """The person who works on an alert, since when, and their note."""

    author: str
    note: str
    at: str


class Alert(View):
    """One problem of one layer, with its state. ``layer_id`` 0 and a null ``layer`` stand for the run itself.

    ``layer`` is the layer's name in the model, ``layer_label`` the one that messages call it by.

    An alert of kind ``dying`` becomes one of kind ``dead``, at ``dead_step``. It is ``resolved`` where its problem
    passed or a person closed it, and ``ended`` where its run ended while it held; ``outcome`` is null until then.
    ``inhibited_by`` is the alert that explains this one, ``silenced_by`` a silence: while either is set, no
    notification is sent.
    """

    id: str
    incident_id: str
    run_id: str
    project: str
    run: AlertRun
    layer: str | None
    layer_label: str | None
    layer_id: int
    kind: Kind
    state: AlertState
    severity: Severity
    cause: Cause
    confidence: float
    opened_step: int
    dead_step: int | None
    resolved_step: int | None
    ended_step: int | None
    opened_at: str
    updated_at: str
    resolved_at: str | None
    ended_at: str | None
    resolved_reason: str | None
    outcome: Outcome | None
    title: str
    message: str
    url: str
    evidence: dict[str, Any]
    forecast: Forecast | None
    remedies: list[Remedy]
    acknowledged: Acknowledgement | None
    inhibited_by: str | None
    silenced_by: str | None

    @property
    def is_open(self) -> bool:
        """True until the alert is resolved, or its run ends."""
        return self.state in OPEN_STATES

    @property
    def holds(self) -> bool:
        """True while the problem holds, or if it held when the run ended; also where a person closed a lasting one."""
        return self.is_open or self.state == "ended" or (self.outcome == "closed" and self.kind in LASTING)

    def _repr_html_(self) -> str:
        """Return the alert as a card for notebooks."""
        lines = [f"{self.state}, since step {self.opened_step:,}", self.message]
        lines += [f"Fix: {remedy.reason}" for remedy in self.remedies]
        return notebook.card(self.title, self.severity, lines, notebook.link(self.url))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - the interface of IPython
        """Print one line: IPython shows lists of alerts by it."""
        line = f"<Alert {self.severity.upper()} {self.state}: {self.title}, step {self.opened_step:,}>"
        printer.text(printable(line))


class RemedyEffect(View):
    """A remedy that was applied at a step, and its effect since; an alert's ``remedies`` are the proposed ones.

    The shares are of the layer's units that can die: at the last sampled step up to ``step``, and at the latest one
    since. Both are null where nothing was measured. ``sampled_steps`` counts those since, up to the layer's next remedy
    or the next mark. ``explanation`` states what the outcome is based on.
    """

    action: str
    step: int
    outcome: RemedyOutcome
    share_before: float | None
    share_after: float | None
    sampled_steps: int
    explanation: str


class AlertDetail(Alert):
    """An alert with the remedies that were applied to it, oldest first."""

    remedy_outcomes: list[RemedyEffect]


class AlertEvent(View):
    """One transition of an alert. ``author`` is null where no person caused it; ``note`` is theirs, or the reason."""

    event_number: int
    occurred_at: str
    step: int
    event: AlertEventName
    from_state: AlertState | None
    to_state: AlertState
    severity: Severity
    author: str | None
    note: str


class Silence(View):
    """A period without notifications for the alerts that match. ``matched`` counts the open alerts it silences now."""

    silence_id: str
    project: str | None
    """The only project it applies to, where the key that created it is bound to one."""
    matchers: dict[str, str]
    starts_at: str
    ends_at: str
    author: str
    comment: str
    created_at: str
    active: bool
    matched: int
