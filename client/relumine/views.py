"""What the server answers: runs, layers, series, alerts. One definition for the server and for ``Client``.

Output models have no defaults: a field that is missing is a bug, not a null. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from relumine.wire import Coverage

Kind: TypeAlias = Literal["dying", "dead", "born_dead", "constant_output", "diverged", "no_data", "stalled"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the greatest."""
Cause: TypeAlias = Literal[
    "high_learning_rate", "negative_bias", "bad_initialization", "input_shift", "upstream_collapse", "unknown"
]
AlertState: TypeAlias = Literal["pending", "firing", "acknowledged", "resolved", "regressed"]
AlertEvent: TypeAlias = Literal[
    "raised", "suspected", "escalated", "changed", "cleared", "ripened", "returned",
    "acknowledged", "closed", "ended", "resumed",
]  # fmt: skip
"""What moves an alert: docs/alerts.md says what each means."""
ENDED_WITH_RUN = ("the run finished", "the run failed")
"""Reasons of alerts that were open to the end of their run."""
RunState: TypeAlias = Literal["running", "finished", "stalled", "failed"]
Outcome: TypeAlias = Literal["worked", "did_not_work", "too_early"]
LayerState: TypeAlias = Literal["waiting", "healthy", "dying", "dead", "born_dead", "diverged", "cannot_die"]

T = TypeVar("T")


class View(BaseModel):
    """Base of all answers; frozen, and tolerant of fields that a newer server adds."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class Page(View, Generic[T]):
    """A page of a list; ``next_cursor`` is opaque and null at the end."""

    items: list[T]
    next_cursor: str | None


class AlertRun(View):
    """The run an alert belongs to."""

    name: str | None
    group: str | None
    url: str


class Remedy(View):
    """One thing to do, with its number."""

    action: str
    parameter: str | None
    value: float | None
    reason: str


class Forecast(View):
    """When half of the layer will be dead at the present course: steps, and the 80 % interval."""

    step: int
    low: int
    high: int
    confidence: float
    eta_s: float | None


class Acknowledgement(View):
    """Who is on it, since when, and what they said."""

    author: str
    note: str
    at: str


class Alert(View):
    """A finding that has a life. ``layer_id`` 0 and ``layer`` null speak of the run itself.

    ``muted_by`` is the alert that explains this one, ``silenced_by`` a silence: while either is there, nobody is told.
    """

    id: str
    run_id: str
    project: str
    run: AlertRun
    layer: str | None
    layer_id: int
    kind: Kind
    state: AlertState
    severity: Severity
    cause: Cause
    confidence: float
    opened_step: int
    resolved_step: int | None
    opened_at: str
    updated_at: str
    resolved_at: str | None
    resolved_reason: str | None
    title: str
    message: str
    url: str
    evidence: dict[str, Any]
    forecast: Forecast | None
    remedies: list[Remedy]
    acknowledged: Acknowledgement | None
    muted_by: str | None
    silenced_by: str | None


class Treatment(View):
    """A remedy that was applied at a step, and what became of it since; ``remedies`` of an alert are what is proposed.

    The shares are of the layer's units that could be lost: at the last look up to the step, and at the latest since.
    Both are null where nothing was measured. ``looks`` are those since, up to the next remedy for the layer or the next
    mark. ``words`` says what the outcome rests on.
    """

    action: str
    step: int
    outcome: Outcome
    share_before: float | None
    share_after: float | None
    looks: int
    words: str


class TreatedAlert(Alert):
    """An alert read by itself, with what was done about it, the oldest first."""

    treatments: list[Treatment]


class HistoryEntry(View):
    """One transition of an alert. ``author`` is null where no person did it; ``note`` is theirs, or the reason."""

    number: int
    at: str
    step: int
    event: AlertEvent
    from_state: AlertState | None
    to_state: AlertState
    severity: Severity
    author: str | None
    note: str


class Silence(View):
    """For a time nobody is told of the alerts that match. ``matched`` counts the open ones it holds now."""

    silence_id: str
    project: str | None
    """Where it is about one project alone, because the key that set it is bound to that."""
    matchers: dict[str, str]
    starts_at: str
    ends_at: str
    author: str
    comment: str
    created_at: str
    active: bool
    matched: int


class RunSummary(View):
    """How a run ended, for ``run.finished``: what was lost, what was told, and where to read on.

    ``lost`` names the layers that end dead or born dead; ``alerts`` counts by severity, ``worst`` are a few of them.
    """

    run_id: str
    project: str
    name: str | None
    group: str | None
    state: RunState
    url: str
    started_at: str | None
    finished_at: str | None
    last_step: int | None
    layers: int
    units: int
    lost: list[str]
    alerts: dict[Severity, int]
    worst: list[Alert]


class Accepted(View):
    """The server's answer to an upload: it steers the SDK, so nothing polls.

    ``alerts`` are those of the run that are open, and those that this upload resolved, at most the 200 worst. ``every``
    may only thin the SDK's own sampling interval; null leaves it alone.
    """

    accepted: int
    duplicate: bool
    every: int | None
    alerts: list[Alert]


class Project(View):
    """A project and what it holds."""

    project: str
    runs: int
    created_at: str


class Run(View):
    """One training job."""

    run_id: str
    project: str
    group: str | None
    name: str | None
    state: RunState
    config: dict[str, Any]
    tags: list[str]
    sdk: str | None
    torch: str | None
    started_at: str | None
    created_at: str
    updated_at: str
    finished_at: str | None
    last_step: int | None
    dropped: dict[str, int]
    coverage: Coverage | None
    """How much of the model is seen; None until the SDK said."""
    open_alerts: int
    url: str


class Layer(View):
    """A layer, how it is observed, and its present state. Fractions are shares of its units, in [0, 1]."""

    layer_id: int
    name: str
    units: int
    activation: str
    can_die: bool
    unit_kind: str
    n_unit: str
    split: str
    producer: str | None
    fan_in: int | None
    observed: str
    sampled_share: float | None
    """Of the optimizer steps, as the SDK last said."""
    missing: list[str]
    state: LayerState
    risk: float
    last_step: int | None
    active_rate: float | None
    dying_fraction: float | None
    dead_fraction: float | None
    born_dead_fraction: float | None


class Problem(View):
    """RFC 9457 problem details; ``code`` is stable, ``request_id`` finds the lines of the server's log."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None
