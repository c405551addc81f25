"""Data of charts as the server answers it: series, units, traces, and the overview of a run."""

from __future__ import annotations

from relumine.schemas.alert import Alert
from relumine.schemas.base import View
from relumine.schemas.run import Layer, Run


class Extremes(View):
    """One statistic, downsampled: the last, the minimum and the maximum of the steps of each point; null if missing."""

    last: list[float | None]
    min: list[float | None]
    max: list[float | None]


class Series(View):
    """Downsampled statistics of a layer; ``step`` is the last step of each point."""

    layer_id: int
    step: list[int]
    statistics: dict[str, Extremes]


class Units(View):
    """Per-unit statistics of one record, each list of length ``units``."""

    layer_id: int
    first_step: int
    step: int
    n_examples: int
    n_positions: int
    columns: dict[str, list[float]]


class MetricPoint(View):
    """A logged metric at a step."""

    step: int
    value: float


class LoggedMetrics(View):
    """Logged metrics by name, in the order of steps; ``next_cursor`` is opaque, and null at the end."""

    metrics: dict[str, list[MetricPoint]]
    next_cursor: str | None


class Trace(View):
    """The state of one layer over steps, for the heat map. No unit counts in two of the fractions."""

    layer_id: int
    step: list[int]
    dead_fraction: list[float | None]
    born_dead_fraction: list[float | None]
    dying_fraction: list[float | None]
    active_rate: list[float | None]


class RunTrace(View):
    """Learning rate, update ratio and loss of the run over steps, as far as they were sent.

    ``kill_ratio`` is the largest of all layers since the point before.
    """

    step: list[int]
    learning_rate: list[float | None]
    update_ratio: list[float | None]
    kill_ratio: list[float | None]
    loss: list[float | None]


class LostTrace(View):
    """The share of units that the worst layer of a run has lost, and its loss, in at most 48 points, for lists of runs.

    Units that are dying, dead or born dead count as lost. Each point has the largest share since the point before it.
    """

    run_id: str
    step: list[int]
    lost_fraction: list[float | None]
    loss: list[float | None]


class Overview(View):
    """Everything that a page needs of a run, in one call. Traces hold only points after ``after_step``.

    ``alerts`` are at most the 200 most severe; ``run.open_alerts`` counts all that are open.
    """

    run: Run
    layers: list[Layer]
    traces: list[Trace]
    run_trace: RunTrace
    alerts: list[Alert]
    last_step: int | None
