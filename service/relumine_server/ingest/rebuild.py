"""Rebuild of a detector state that cannot be read, as after an upgrade, from the stored uploads of its run.

Other runs keep uploading meanwhile: no transaction is open while the detector computes, and the state is written once.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import sqlalchemy as sa
import structlog

from relumine.schemas.alert import problem_of
from relumine_server.alerts import queries as alert_queries
from relumine_server.clock import Clock
from relumine_server.db.database import Database
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import RunReplay
from relumine_server.detection.state import DetectorState
from relumine_server.ingest import detector_states
from relumine_server.ingest.detector_states import DetectorStateLost
from relumine_server.policies import repository as policy_repository
from relumine_server.runs import repository as run_repository
from relumine_server.timeseries import replay, unit_stats

_log = structlog.get_logger(__name__)


class DetectorRebuilds:
    """Rebuilds one state at a time: the processor is for uploads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._one_at_a_time = asyncio.Semaphore(1)

    async def rebuild(self, lost: DetectorStateLost) -> None:
        """Wait until the run has a state that can be read. Does nothing if another upload or process rebuilt it."""
        async with self._one_at_a_time:
            cancelled = threading.Event()
            try:
                await asyncio.to_thread(self._rebuild, lost.run_id, lost.session, cancelled)
            finally:
                cancelled.set()  # the thread ends at its next upload

    def _rebuild(self, run_id: str, session: str, cancelled: threading.Event) -> None:
        with self._database.read() as connection:
            run = run_repository.find(connection, run_id)
            lost = detector_states.find_lost(connection, run_id, session)
            if run is None or lost is None:
                return
            policy = policy_repository.load(connection, run.project) or DEFAULT
            layers = run_repository.load_layers(connection, run_id)
            is_exact = unit_stats.is_complete(connection, run_id)
        _log.warning("detector state lost, rebuilding it", run=run_id, reason=lost.reason, exact=is_exact)
        run_replay = RunReplay(layers, policy)
        position = (session, 0)
        for upload in replay.stored_uploads_by_page(self._database, run_id):
            if cancelled.is_set():
                return
            if upload.session > session:
                break
            run_replay.advance(upload.session, upload.records)
            if upload.session == session:
                position = upload.position
        self._database.write(lambda connection: self._save(connection, lost, position, run_replay.state))

    def _save(
        self, connection: sa.Connection, lost: DetectorStateLost, position: replay.Position, state: DetectorState
    ) -> None:
        """Save the state after the upload at ``position`` in place of the lost one, unless that is gone already."""
        current_position = run_repository.lock_detector_position(connection, lost.run_id)
        if not detector_states.is_still_lost(connection, lost):
            return
        # Elsewhere a process that has the state cached went on: its alerts are ahead, and it will save its own state.
        if current_position == position:
            state = _with_stored_alerts(connection, lost.run_id, state)
        detector_states.save(connection, lost.run_id, position, state, self._clock())


def _with_stored_alerts(connection: sa.Connection, run_id: str, state: DetectorState) -> DetectorState:
    """Return the state with the problems open that have an open alert.

    Another version of the detector, or a thinned run, finds other problems than those that people were notified of. An
    alert that a person or the end of the run closed says nothing about its problem: there the new state is right.
    """
    problems = {}
    closed_from_outside = alert_queries.closed_from_outside(connection, run_id)
    rebuilt = {(layer_id, problem_of(kind)): kind for layer_id, kind in state.open_problems}
    for alert in alert_queries.load_run(connection, run_id, ""):
        if alert.kind == "stalled":
            continue  # raised by the clock, not by the detector
        kind = alert.kind if alert.is_open else rebuilt.get((alert.layer_id, problem_of(alert.kind)), alert.kind)
        key = (alert.layer_id, kind)
        problem = state.open_problems.get(key)
        if not alert.is_open:
            if problem is not None and alert.id in closed_from_outside:
                problems[key] = problem
        elif not alert.layer_id or alert.layer_id in state.layers:
            step = alert.opened_step if problem is None else problem.step
            problems[key] = detection_state.OpenProblem(alert.severity, alert.cause, alert.confidence, step)
    return replace(state, open_problems=problems)
