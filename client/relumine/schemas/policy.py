"""Policies and backtests as the server answers them."""

from __future__ import annotations

from typing import TypeAlias

from relumine.schemas.alert import Kind, Severity
from relumine.schemas.base import View

Number: TypeAlias = int | float


class Threshold(View):
    """A threshold: its default, the range it may be set to, and the reason for the default."""

    default: Number
    min: Number
    max: Number
    integer: bool
    reason: str


class Policy(View):
    """The thresholds in force in a project, those that it changed, and a description of each by name."""

    project: str
    thresholds: dict[str, Number]
    changed: dict[str, Number]
    known: dict[str, Threshold]


class RaisedProblem(View):
    """The step at which a policy first raised a problem, and the highest severity that the problem reached.

    ``dead_step``: the step at which a layer that was dying was dead; null where it was not.
    """

    first_step: int
    dead_step: int | None
    severity: Severity


class PolicyProblem(View):
    """A problem of a layer, or of the run (``layer_id`` 0), under each policy; null where the policy raised none."""

    layer_id: int
    layer: str | None
    kind: Kind
    in_force: RaisedProblem | None
    proposed: RaisedProblem | None


class RunBacktest(View):
    """A run under both policies.

    ``exact``: the run was replayed as it was uploaded. It is not where per-unit statistics were thinned, which then
    count as sampled steps that were not taken, or where the number of units of a layer has changed.
    ``complete``: all records of the run were processed; otherwise the first ``records`` of them, under both policies.
    """

    run_id: str
    name: str | None
    records: int
    exact: bool
    complete: bool
    problems: list[PolicyProblem]


class Totals(View):
    """Problems of all runs: how many each policy raised, and which policy raised the common ones earlier."""

    in_force: int
    proposed: int
    only_in_force: int
    only_proposed: int
    same_step: int
    earlier: int
    later: int


class Backtest(View):
    """The problems that the policy in force and the proposed one would have raised on stored runs.

    ``in_force`` and ``proposed`` are the thresholds that each policy changes. ``left_out`` are runs that did not fit
    the limits of one request, or were deleted meanwhile. ``more_runs``: there are older runs beyond the limit.
    ``earlier`` and ``later`` say how the proposed policy compares.
    """

    project: str
    in_force: dict[str, Number]
    proposed: dict[str, Number]
    totals: Totals
    runs: list[RunBacktest]
    left_out: list[str]
    more_runs: bool
