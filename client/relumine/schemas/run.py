"""Runs, projects and layers as the server answers them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from relumine.schemas.alert import Alert, Severity
from relumine.schemas.base import View
from relumine.schemas.health import HealthStatus
from relumine.schemas.upload import Coverage
from relumine.schemas.watching import Watching

RunStatus: TypeAlias = Literal["running", "finished", "stalled", "failed"]

RunSort: TypeAlias = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "name", "-name", "last_step", "-last_step",
    "health", "-health", "final_loss", "-final_loss", "project", "-project", "status", "-status",
    "layers_dead", "-layers_dead", "steps_per_s", "-steps_per_s", "open_alerts", "-open_alerts",
    "duration_s", "-duration_s", "lost_fraction", "-lost_fraction",
]  # fmt: skip
"""Orders of a list of runs; ``-`` is from the largest value to the smallest. ``health`` begins with the worst, and
``status`` with failed and stalled runs."""

LayerState: TypeAlias = Literal["waiting", "healthy", "dying", "dead", "born_dead", "diverged", "cannot_die"]


class RunSummary(View):
    """The end of a run, as ``run.finished`` sends it.

    ``dead_layers`` names the layers that end dead or born dead; ``alert_counts`` has all alerts of the run by severity,
    ``ended_alerts`` the worst of those that were open when it ended.
    """

    run_id: str
    project: str
    name: str | None
    group: str | None
    status: RunStatus
    health: HealthStatus
    health_reason: str | None
    url: str
    started_at: str | None
    finished_at: str | None
    last_step: int | None
    layers: int
    units: int
    dead_layers: list[str]
    alert_counts: dict[Severity, int]
    ended_alerts: list[Alert]


class Project(View):
    """A project, the number of its runs, and how many of them have each health."""

    project: str
    runs: int
    health_counts: dict[HealthStatus, int]
    created_at: str


class AlertCounts(View):
    """All alerts of a run by severity, and how many of them are open."""

    critical: int
    warning: int
    info: int
    open: int


class Run(View):
    """One training job."""

    run_id: str
    project: str
    group: str | None
    name: str | None
    status: RunStatus
    health: HealthStatus
    health_reason: str | None
    """Why the health is what it is, in words; null for ``healthy``."""
    config: dict[str, Any]
    tags: list[str]
    sdk: str | None
    torch: str | None
    started_at: str | None
    created_at: str
    updated_at: str
    last_upload_at: str | None
    """When the training last sent something; a change through the API does not renew it."""
    finished_at: str | None
    last_step: int | None
    dropped: dict[str, int]
    is_shared: bool
    """Whether two trainings have uploaded under this run id at once: each should have a run id of its own."""
    coverage: Coverage | None
    """The part of the model that is watched; null until the SDK has reported it."""
    watching: Watching | None
    """Whether the training is being watched, as the SDK last reported it; null until it has."""
    layers: int
    layers_dead: int
    """Layers that are dead or were born dead, or were when the run ended, of whatever severity."""
    lost_fraction: float | None
    """The share of units of the worst layer that are dying, dead or born dead, at the last analyzed step."""
    alert_counts: AlertCounts
    open_alerts: int
    sampled_steps: int
    """Sampled steps that were analyzed."""
    last_layer_step: int | None
    """The last step at which a layer was recorded; null before the first."""
    final_loss: float | None
    """The latest loss that was recorded or logged."""
    first_step: int | None
    """The first step that was recorded of the newest session; null before it."""
    steps_per_s: float | None
    """Steps per second since the first upload of the newest session; null where they came after the training."""
    duration_s: float | None
    """Seconds from the start of the run to its end, or to its last upload; null where the start is later than that."""
    url: str


class RunCounters(View):
    """Numbers of runs: each is that of the runs which the filter of ``GET /v1/runs`` with the same name lists.

    ``died_last_7_days`` counts with ``died_since`` as the filter.
    """

    running: int
    needs_attention: int
    died_last_7_days: int
    died_since: str
    stalled_or_unwatched: int
    total: int


class Layer(View):
    """A layer, how it is observed, and its current state. Fractions are shares of its units, in [0, 1]."""

    layer_id: int
    name: str
    label: str
    """The name of the layer for people."""
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
    """The sampled share of the optimizer steps, as the SDK last reported it."""
    missing: list[str]
    state: LayerState
    risk: float
    last_step: int | None
    active_rate: float | None
    dying_fraction: float | None
    dead_fraction: float | None
    born_dead_fraction: float | None
