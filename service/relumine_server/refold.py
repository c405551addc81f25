"""A run whose saved detector state cannot be read, as after an upgrade, is folded again from what is stored of it.

Uploads of other runs go on meanwhile: no transaction is open while it computes, and it writes once, at the end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
import structlog

from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import DEFAULT
from relumine_server.storage import alerts, journal, policies, runs, states, units
from relumine_server.storage.states import StateLost
from relumine_server.storage.store import Store

_log = structlog.get_logger(__name__)


class Refolds:
    """Takes one run at a time: the processor belongs to the uploads."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._turn = asyncio.Semaphore(1)

    async def make_up_for(self, lost: StateLost) -> None:
        """Wait until the run has a state again; where another upload or process sees to it there is nothing to do."""
        async with self._turn:
            given_up = threading.Event()
            try:
                await asyncio.to_thread(self._refold, lost.run_id, given_up)
            finally:
                given_up.set()  # cancelled: the thread ends at its next upload

    def _refold(self, run_id: str, given_up: threading.Event) -> None:
        with self._store.read() as connection:
            run, lost = runs.find(connection, run_id), states.find_lost(connection, run_id)
            if run is None or lost is None:
                return
            policy = policies.load(connection, run.project) or DEFAULT
            state = detector.describe(detector.empty(), runs.load_layers(connection, run_id))
            whole = units.is_whole(connection, run_id)
        _log.warning("detector state lost, run folded again", run=run_id, reason=lost.reason, exact=whole)
        last = ("", 0)
        for session, seq, records in journal.pages(self._store, run_id):
            if given_up.is_set():
                return
            state, _readings, _findings = onset.advance(state, records, policy)
            last = (session, seq)
        self._store.write(lambda c: _save(c, lost, last, state, self._clock()))


def _save(
    connection: sa.Connection, lost: StateLost, last: tuple[str, int], state: detector.DetectorState, now: datetime
) -> None:
    """Put the state in place of the lost one, unless that is gone."""
    folded = runs.lock_folded(connection, lost.run_id)
    if not states.is_still(connection, lost):
        return
    if folded == last:  # else a process that remembers the state went on: alerts are ahead, and it will save its own
        state = _as_told(connection, lost.run_id, state)
    states.save(connection, lost.run_id, *last, state, now)


def _as_told(connection: sa.Connection, run_id: str, state: detector.DetectorState) -> detector.DetectorState:
    """The state with those problems open that people were told of: another detector, or a thinned run, finds others.

    An alert that somebody or the run's end closed says nothing about the problem; there the fold is believed.
    """
    opened = {}
    closed_from_outside = alerts.closed_from_outside(connection, run_id)
    for alert in alerts.of_run(connection, run_id, ""):
        key = (alert.layer_id, alert.kind)
        if alert.kind == "stalled":
            continue  # the clock's, not the detector's
        found = state.open.get(key)
        if alert.state == "resolved":
            if found is not None and alert.id in closed_from_outside:
                opened[key] = found
        elif not alert.layer_id or alert.layer_id in state.layers:
            step = alert.opened_step if found is None else found.step
            opened[key] = detector.Open(alert.severity, alert.cause, alert.confidence, step)
    return replace(state, open=opened)
