"""Backtests: the problems that another policy would have raised on stored runs.

A backtest writes nothing, and no transaction is open while it computes. Both policies process the same records in the
same order, so they compare even where a run cannot be replayed exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from relumine.schemas import policy as schema_policy
from relumine.schemas.alert import Kind, problem_of, severity_rank
from relumine.schemas.policy import RaisedProblem
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo
from relumine_server.db.database import Database
from relumine_server.detection import policy as detection_policy
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import RunReplay
from relumine_server.errors import Busy, ProjectNotFound, RunNotFound
from relumine_server.policies import repository as policy_repository
from relumine_server.runs import listing
from relumine_server.runs import repository as run_repository
from relumine_server.runs.filters import RunFilters
from relumine_server.runs.rows import RunRow
from relumine_server.timeseries import replay, unit_stats

MAX_RUNS = 20
"""Runs of one request."""

MAX_RECORDS = 50_000
"""Records of one request, each processed twice: up to a minute of a core."""

UNITS_PER_RECORD = 1_000  # so many units cost as much as a record


@dataclass
class PolicyReplay:
    """A run replayed under one policy, and the problems raised so far, by layer and problem."""

    replay: RunReplay
    raised: dict[tuple[int, Kind], RaisedProblem] = field(default_factory=dict)

    def advance(self, session: str, records: RecordTable) -> None:
        """Process the records of an upload."""
        _, findings = self.replay.advance(session, records)
        for finding in findings:
            if finding.transition == "resolved":
                continue
            key = (finding.layer_id, problem_of(finding.kind))
            self.raised[key] = _raised(self.raised.get(key), finding)


def _raised(problem: RaisedProblem | None, finding: Finding) -> RaisedProblem:
    """Return a problem with one more finding that raised or changed it."""
    dead_step = finding.step if finding.kind == "dead" else None
    if problem is None:
        return RaisedProblem(first_step=finding.step, dead_step=dead_step, severity=finding.severity)
    return RaisedProblem(
        first_step=problem.first_step,
        dead_step=dead_step if problem.dead_step is None else problem.dead_step,
        severity=max(problem.severity, finding.severity, key=severity_rank),
    )


@dataclass
class ReplayPair:
    """A run replayed under the policy in force and under the proposed one.

    ``units_match``: no record so far has another number of units than its layer has today.
    """

    in_force: PolicyReplay
    proposed: PolicyReplay
    units: Mapping[int, int]
    records: int = 0
    units_match: bool = True

    @classmethod
    def start(cls, in_force: Policy, proposed: Policy, layers: Sequence[LayerInfo]) -> ReplayPair:
        """Return a pair at the beginning of a run with these layers."""
        return cls(
            PolicyReplay(RunReplay(layers, in_force)),
            PolicyReplay(RunReplay(layers, proposed)),
            {layer.layer_id: layer.units for layer in layers},
        )

    def advance(self, session: str, records: RecordTable) -> None:
        """Process the records of an upload under both policies. The detector skips those whose units do not match."""
        expected = np.array([self.units.get(layer, 0) for layer in records.scalars["layer_id"].tolist()], np.int64)
        if np.any((records.present > 0) & (records.units != expected)):
            self.units_match = False
        self.records += len(records)
        self.in_force.advance(session, records)
        self.proposed.advance(session, records)


@dataclass
class RecordBudget:
    """The records that a request may still process."""

    left: int

    def spend(self, records: RecordTable) -> bool:
        """Take an upload from the budget. Returns False if it does not fit; then nothing more fits."""
        cost = max(len(records) + int(records.units.sum()) // UNITS_PER_RECORD, 1)
        fits = cost <= self.left
        self.left = self.left - cost if fits else 0
        return fits


class Backtests:
    """Runs one backtest at a time: the processor is for uploads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()

    def compare(
        self, project: str, proposed: Policy, run_ids: Sequence[str] | None, limit: int
    ) -> schema_policy.Backtest:
        """Replay the newest runs of a project, or those given, under its policy and under the proposed one.

        Raises ProjectNotFound, RunNotFound, and Busy while another backtest is in flight.
        """
        if not self._lock.acquire(blocking=False):
            raise Busy("another backtest is in flight; try again shortly")
        try:
            return self._compare(project, proposed, run_ids, limit)
        finally:
            self._lock.release()

    def _compare(
        self, project: str, proposed: Policy, run_ids: Sequence[str] | None, limit: int
    ) -> schema_policy.Backtest:
        with self._database.read() as connection:
            in_force = policy_repository.load(connection, project)
            if in_force is None:
                raise ProjectNotFound
            runs = _choose_runs(connection, project, run_ids, limit)
        budget = RecordBudget(MAX_RECORDS)
        results = []
        left_out = []
        for run in runs[:limit]:
            result = self._replay(run, in_force, proposed, budget)
            if result is None:
                left_out.append(run.run_id)
            else:
                results.append(result)
        return schema_policy.Backtest(
            project=project,
            in_force=detection_policy.changed(in_force),
            proposed=detection_policy.changed(proposed),
            totals=_totals([problem for result in results for problem in result.problems]),
            runs=results,
            left_out=left_out,
            more_runs=len(runs) > limit,
        )

    def _replay(
        self, run: RunRow, in_force: Policy, proposed: Policy, budget: RecordBudget
    ) -> schema_policy.RunBacktest | None:
        """Replay a run under two policies; None if the budget is used up before it, or it was deleted meanwhile."""
        if not budget.left:
            return None
        with self._database.read() as connection:
            layers = run_repository.load_layers(connection, run.run_id)
        pair = ReplayPair.start(in_force, proposed, layers)
        is_complete = True
        for upload in replay.stored_uploads_by_page(self._database, run.run_id):
            is_complete = budget.spend(upload.records)
            if not is_complete:
                break
            pair.advance(upload.session, upload.records)
        with self._database.read() as connection:
            is_deleted = run_repository.find(connection, run.run_id) is None
            if is_deleted or not (pair.records or is_complete):
                return None
            has_all_units = unit_stats.is_complete(connection, run.run_id)
        return schema_policy.RunBacktest(
            run_id=run.run_id,
            name=run.name,
            records=pair.records,
            exact=has_all_units and pair.units_match,
            complete=is_complete,
            problems=_problems(pair, {layer.layer_id: layer.name for layer in layers}),
        )


def _choose_runs(connection: sa.Connection, project: str, run_ids: Sequence[str] | None, limit: int) -> list[RunRow]:
    """Return up to ``limit`` runs of a project, newest first, and one more if there is one.

    Raises RunNotFound if one of ``run_ids`` is of another project.
    """
    if run_ids is None:
        return list(listing.select_page(connection, RunFilters(project=project), None, limit))
    runs = []
    for run_id in set(run_ids):
        run = run_repository.find(connection, run_id)
        if run is None or run.project != project:
            raise RunNotFound("not all of run_ids are runs of this project")
        runs.append(run)
    return sorted(runs, key=lambda run: (run.created_at, run.run_id), reverse=True)[: limit + 1]


def _problems(pair: ReplayPair, layer_names: Mapping[int, str]) -> list[schema_policy.PolicyProblem]:
    in_force = pair.in_force.raised
    proposed = pair.proposed.raised
    return [
        schema_policy.PolicyProblem(
            layer_id=layer_id,
            layer=layer_names.get(layer_id),
            kind=_worst_kind(problem, in_force.get((layer_id, problem)), proposed.get((layer_id, problem))),
            in_force=in_force.get((layer_id, problem)),
            proposed=proposed.get((layer_id, problem)),
        )
        for layer_id, problem in sorted(in_force.keys() | proposed.keys())
    ]


def _worst_kind(problem: Kind, *raised: RaisedProblem | None) -> Kind:
    is_dead = any(item is not None and item.dead_step is not None for item in raised)
    return "dead" if is_dead else problem


def _totals(problems: Sequence[schema_policy.PolicyProblem]) -> schema_policy.Totals:
    in_force = sum(problem.in_force is not None for problem in problems)
    proposed = sum(problem.proposed is not None for problem in problems)
    # Steps by which the proposed policy raises a problem later than the one in force.
    delays = [
        problem.proposed.first_step - problem.in_force.first_step
        for problem in problems
        if problem.in_force is not None and problem.proposed is not None
    ]
    return schema_policy.Totals(
        in_force=in_force,
        proposed=proposed,
        only_in_force=in_force - len(delays),
        only_proposed=proposed - len(delays),
        same_step=sum(delay == 0 for delay in delays),
        earlier=sum(delay < 0 for delay in delays),
        later=sum(delay > 0 for delay in delays),
    )
