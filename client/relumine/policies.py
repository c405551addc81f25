"""What the server answers of policies and of backtests. One definition for the server and for ``Client``."""

from __future__ import annotations

from typing import TypeAlias

from relumine.views import Kind, Severity, View

Number: TypeAlias = int | float


class Threshold(View):
    """What a threshold is unless a project changed it, the range it may be set to, and why it is what it is."""

    default: Number
    least: Number
    most: Number
    whole: bool
    reason: str


class Policy(View):
    """The thresholds in force in a project, those of them that it changed, and what is known of each."""

    project: str
    thresholds: dict[str, Number]
    changed: dict[str, Number]
    known: dict[str, Threshold]


class Raised(View):
    """The step at which a problem was first raised, and the worst that it came to."""

    first_step: int
    severity: Severity


class Problem(View):
    """A problem of a layer, or of the run (``layer_id`` 0), as each policy saw it; null where it did not."""

    layer_id: int
    layer: str | None
    kind: Kind
    in_force: Raised | None
    proposed: Raised | None


class RunBacktest(View):
    """A run under both policies.

    ``exact``: the run was folded as it was when it was uploaded. It is not where per-unit statistics were thinned,
    which are then looks that were not taken, or where a layer's number of units changed.
    ``complete``: all records of the run were folded; otherwise the first ``records`` of them, under both policies.
    """

    run_id: str
    name: str | None
    records: int
    exact: bool
    complete: bool
    problems: list[Problem]


class Totals(View):
    """Problems of all runs: how many each policy raised, and how the two compare."""

    in_force: int
    proposed: int
    only_in_force: int
    only_proposed: int
    same_step: int
    earlier: int
    later: int


class Backtest(View):
    """What the policy in force and the proposed one, each told by what it changes, would have raised on stored runs.

    ``left_out``: runs that were not folded, as others had used up what one request may fold, or as they were deleted
    meanwhile. ``more_runs``: older runs were beyond the limit. ``earlier``, ``later``: so is the proposed policy.
    """

    project: str
    in_force: dict[str, Number]
    proposed: dict[str, Number]
    totals: Totals
    runs: list[RunBacktest]
    left_out: list[str]
    more_runs: bool
