"""What another policy would have raised on stored runs. Writes nothing, and holds no transaction while it computes.

Both policies fold the same records in the same order: they compare even where a run cannot be folded exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import sqlalchemy as sa

from relumine import policies as views
from relumine.table import RecordTable
from relumine.views import Kind, Severity
from relumine.wire import LayerInfo
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy
from relumine_server.errors import Busy, ProjectNotFound, RunNotFound
from relumine_server.storage import journal, policies, runs, thresholds, units
from relumine_server.storage.store import Store

RUNS = 20
"""Runs of one request."""

RECORDS, UNITS = 50_000, 1_000
"""Records of one request, each folded twice: about ten seconds of a core. So many units cost as much as a record."""

_SEVERITIES: Sequence[Severity] = get_args(Severity)  # the worst is the last


@dataclass
class Fold:
    """One policy on its way through a run: what it remembers and what it has raised."""

    policy: Policy
    state: detector.DetectorState
    raised: dict[tuple[int, Kind], views.Raised] = field(default_factory=dict)

    def take(self, records: RecordTable) -> None:
        """Fold one upload."""
        self.state, _, findings = onset.advance(self.state, records, self.policy)
        for finding in findings:
            if finding.transition != "resolved":
                key = (finding.layer_id, finding.kind)
                first = self.raised.get(key, views.Raised(first_step=finding.step, severity=finding.severity))
                worst = max(first.severity, finding.severity, key=_SEVERITIES.index)
                self.raised[key] = views.Raised(first_step=first.first_step, severity=worst)


@dataclass
class Pair:
    """Two policies on their way through one run."""

    in_force: Fold
    proposed: Fold
    sizes: Mapping[int, int]
    records: int = 0
    fits: bool = True

    @classmethod
    def begin(cls, policies: tuple[Policy, Policy], layers: Sequence[LayerInfo]) -> Pair:
        """Nothing seen yet, of layers as they are known today."""
        old, new = (Fold(policy, detector.describe(detector.empty(), layers)) for policy in policies)
        return cls(old, new, {layer.layer_id: layer.units for layer in layers})

    def take(self, records: RecordTable) -> None:
        """Fold one upload twice. A record with other units than its layer has today is passed over by the detector."""
        needed = [self.sizes.get(layer_id, 0) for layer_id in records.scalars["layer_id"].tolist()]
        self.fits = self.fits and not np.any((records.present > 0) & (records.units != np.array(needed, np.int64)))
        self.records += len(records)
        self.in_force.take(records)
        self.proposed.take(records)


@dataclass
class Allowance:
    """How many records a request may still fold."""

    left: int

    def take(self, records: RecordTable) -> bool:
        """Whether an upload may be folded, too; after one that may not, none may."""
        cost = max(len(records) + int(records.units.sum()) // UNITS, 1)
        fits = cost <= self.left
        self.left = self.left - cost if fits else 0
        return fits


class Backtests:
    """Takes one request at a time: the processor belongs to the uploads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()

    def compare(self, project: str, proposed: Policy, run_ids: Sequence[str] | None, limit: int) -> views.Backtest:
        """Fold the newest runs of a project, or these of them, under its policy and under the proposed one.

        Raises ProjectNotFound, RunNotFound, and Busy while another request is under way.
        """
        if not self._turn.acquire(blocking=False):
            raise Busy("another backtest is under way; try again shortly")
        try:
            return self._compare(project, proposed, run_ids, limit)
        finally:
            self._turn.release()

    def _compare(self, project: str, proposed: Policy, run_ids: Sequence[str] | None, limit: int) -> views.Backtest:
        with self._store.read() as connection:
            in_force = policies.load(connection, project)
            if in_force is None:
                raise ProjectNotFound
            chosen = _choose(connection, project, run_ids, limit + 1)
        allowance, folded, left_out = Allowance(RECORDS), [], []
        for run in chosen[:limit]:
            found = _fold(self._store, run, (in_force, proposed), allowance)
            if found is None:
                left_out.append(run.run_id)
            else:
                folded.append(found)
        return views.Backtest(
            project=project,
            in_force=thresholds.changed(in_force),
            proposed=thresholds.changed(proposed),
            totals=_totals([problem for run in folded for problem in run.problems]),
            runs=folded,
            left_out=left_out,
            more_runs=len(chosen) > limit,
        )


def _choose(connection: sa.Connection, project: str, run_ids: Sequence[str] | None, most: int) -> list[sa.Row[Any]]:
    """Runs of a project, newest first. Raises RunNotFound where one that was named is none of them."""
    if run_ids is None:
        return runs.select_page(connection, {"project": project}, None, most)
    found = [row for run_id in set(run_ids) if (row := runs.find(connection, run_id)) and row.project == project]
    if len(found) < len(set(run_ids)):
        raise RunNotFound("a run that was named is none of this project")
    return sorted(found, key=lambda row: (row.created_at, row.run_id), reverse=True)[:most]


def _fold(
    store: Store, run: sa.Row[Any], both: tuple[Policy, Policy], allowance: Allowance
) -> views.RunBacktest | None:
    """A run under two policies; None where nothing of it may be folded any more, or it was deleted meanwhile."""
    if not allowance.left:
        return None
    with store.read() as connection:
        layers = runs.load_layers(connection, run.run_id)
    pair, complete = Pair.begin(both, layers), True
    for _session, _seq, table in journal.pages(store, run.run_id):
        complete = allowance.take(table)
        if not complete:
            break
        pair.take(table)
    with store.read() as connection:
        if runs.find(connection, run.run_id) is None or not (pair.records or complete):
            return None
        whole = units.is_whole(connection, run.run_id)
    return views.RunBacktest(
        run_id=run.run_id,
        name=run.name,
        records=pair.records,
        exact=whole and pair.fits,
        complete=complete,
        problems=_problems(pair, {layer.layer_id: layer.name for layer in layers}),
    )


def _problems(pair: Pair, names: Mapping[int, str]) -> list[views.Problem]:
    old, new = pair.in_force.raised, pair.proposed.raised
    return [
        views.Problem(
            layer_id=layer_id,
            layer=names.get(layer_id),
            kind=kind,
            in_force=old.get((layer_id, kind)),
            proposed=new.get((layer_id, kind)),
        )
        for layer_id, kind in sorted(old.keys() | new.keys())
    ]


def _totals(problems: Sequence[views.Problem]) -> views.Totals:
    both = [(one.in_force.first_step, one.proposed.first_step) for one in problems if one.in_force and one.proposed]
    in_force = sum(one.in_force is not None for one in problems)
    proposed = sum(one.proposed is not None for one in problems)
    return views.Totals(
        in_force=in_force,
        proposed=proposed,
        only_in_force=in_force - len(both),
        only_proposed=proposed - len(both),
        same_step=sum(old == new for old, new in both),
        earlier=sum(new < old for old, new in both),
        later=sum(new > old for old, new in both),
    )
