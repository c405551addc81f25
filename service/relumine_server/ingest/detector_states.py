"""Detector states: a row for each of the latest sessions of a run, and a cache of those of the most active runs.

A cached state is used only in the version that the run's row asks for. A state is saved every few uploads only, because
it is as large as an upload; after a crash the stored uploads since the saved state are processed again. A saved state
that cannot be read is rebuilt outside of the transaction of an upload, which would hold up all others (``rebuild``).
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from cachetools import LRUCache

from relumine.schemas.alert import Kind, problem_of
from relumine_server.db import tables
from relumine_server.db.dialect import insert
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState
from relumine_server.errors import Busy
from relumine_server.runs.rows import LockedRun
from relumine_server.timeseries import replay
from relumine_server.timeseries.replay import BEGINNING, Position

KEPT_SESSIONS = 4
"""States that are stored of a run, those of its latest sessions. A training that still uploads in an older session is
stored and no longer analyzed."""

LAYER_BYTES = 4_800
STATE_BYTES = 17_000
"""Approximate memory of a layer besides its units, and of a state besides its layers, once their histories are full.
The test of the cache compares them with what Python allocates."""

Version: TypeAlias = tuple[str, int, datetime | None]
"""Session, seq and time of receipt of the last upload that a state includes."""


class DetectorCheckpoint(NamedTuple):
    """A detector state, and how many uploads it includes that the saved state does not."""

    state: DetectorState
    unsaved_uploads: int


class DetectorStates:
    """A cache of detector states by run and session, bounded by their bytes. It may be shared between threads."""

    def __init__(self, capacity_bytes: int) -> None:
        def size(entry: tuple[Version, DetectorCheckpoint]) -> int:
            return min(_size_bytes(entry[1].state), capacity_bytes)  # one that is larger is cached alone

        self._entries: LRUCache[tuple[str, str], tuple[Version, DetectorCheckpoint]]
        self._entries = LRUCache(capacity_bytes, getsizeof=size)
        self._lock = threading.Lock()

    def get(self, run_id: str, version: Version) -> DetectorCheckpoint | None:
        """Return the state of a run's session, None unless it is cached in exactly this version."""
        with self._lock:
            entry = self._entries.get((run_id, version[0]))
        return entry[1] if entry is not None and entry[0] == version else None

    def put(self, run_id: str, version: Version, checkpoint: DetectorCheckpoint) -> None:
        """Cache a state. If its transaction fails after all, no row will ask for its version."""
        with self._lock:
            self._entries[run_id, version[0]] = (version, checkpoint)

    def has_open_problem(self, run_id: str, session: str, layer_id: int, kind: Kind) -> bool:
        """Return whether the cached state of a session has a problem open; True where none is cached.

        A layer that was dying and is dead still has the problem ``dying``.
        """
        with self._lock:
            entry = self._entries.get((run_id, session))
        if entry is None:
            return True
        problem = (layer_id, problem_of(kind))
        return any((layer, problem_of(other)) == problem for layer, other in entry[1].state.open_problems)


def _size_bytes(state: DetectorState) -> int:
    return state.units.nbytes + STATE_BYTES + LAYER_BYTES * len(state.layers)


def newest_version(run: LockedRun) -> Version:
    """Return the version of the state of the newest session of a run."""
    if run.detector_session is None or run.detector_seq is None:
        return (*BEGINNING, None)
    return run.detector_session, run.detector_seq, run.last_heartbeat_at


class DetectorStateLost(Busy):
    """The saved state of a run cannot be read. A caller that cannot wait for its rebuild may retry later."""

    def __init__(self, row: sa.Row[Any], error: Exception) -> None:
        super().__init__()
        self.run_id: str = row.run_id
        self.session: str = row.session
        self.saved_version = (row.session, row.seq, row.updated_at)
        self.reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]


def load(connection: sa.Connection, run_id: str, session: str, policy: Policy) -> DetectorCheckpoint:
    """Return the saved state of a session, advanced over its uploads since; an empty state if none is saved.

    Raises DetectorStateLost.
    """
    row = _find_row(connection, run_id, session)
    state = detection_state.empty()
    saved_seq = 0
    if row is not None:
        state = _decode(row)
        saved_seq = row.seq
    unsaved_uploads = 0
    for upload in replay.stored_uploads_of_session(connection, run_id, (session, saved_seq)):
        state, _readings, _findings = detector.advance(state, upload.records, policy)
        unsaved_uploads += 1
    return DetectorCheckpoint(state, unsaved_uploads)


def load_saved(connection: sa.Connection, run_id: str, session: str, policy: Policy) -> DetectorState | None:
    """Return what ``load`` does, for a reader: None where no state is saved or it cannot be read."""
    if _find_row(connection, run_id, session) is None:
        return None
    try:
        return load(connection, run_id, session, policy).state
    except DetectorStateLost:
        return None


def find_lost(connection: sa.Connection, run_id: str, session: str) -> DetectorStateLost | None:
    """Return the error that reading the saved state of a session raises; None if it can be read, or none is saved."""
    row = _find_row(connection, run_id, session)
    try:
        if row is not None:
            _decode(row)
    except DetectorStateLost as lost:
        return lost
    return None


def is_still_lost(connection: sa.Connection, lost: DetectorStateLost) -> bool:
    """Return True if the saved state is still the one that could not be read."""
    c = tables.detector_states.c
    of_session = (c.run_id == lost.run_id, c.session == lost.session)
    row = connection.execute(sa.select(c.session, c.seq, c.updated_at).where(*of_session)).first()
    return row is not None and tuple(row) == lost.saved_version


def save(connection: sa.Connection, run_id: str, position: Position, state: DetectorState, now: datetime) -> None:
    """Save the state of a session after the upload at ``position``, in place of the previous one."""
    session, seq = position
    values = {"seq": seq, "state": detection_state.to_bytes(state), "updated_at": now}
    statement = insert(connection, tables.detector_states).values(run_id=run_id, session=session, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "session"], set_=values))


def delete_oldest(connection: sa.Connection, run_id: str) -> None:
    """Delete the states of all but the latest sessions of a run."""
    c = tables.detector_states.c
    sessions = sa.select(c.session).where(c.run_id == run_id).order_by(c.session.desc())
    oldest = list(connection.scalars(sessions.offset(KEPT_SESSIONS)))
    if oldest:
        connection.execute(sa.delete(tables.detector_states).where(c.run_id == run_id, c.session.in_(oldest)))


def _find_row(connection: sa.Connection, run_id: str, session: str) -> sa.Row[Any] | None:
    c = tables.detector_states.c
    query = sa.select(tables.detector_states).where(c.run_id == run_id, c.session == session)
    return connection.execute(query).first()


def _decode(row: sa.Row[Any]) -> DetectorState:
    try:
        return detection_state.from_bytes(row.state)
    except Exception as error:  # bytes of another version, or truncated ones, fail in a dozen ways
        raise DetectorStateLost(row, error) from error
