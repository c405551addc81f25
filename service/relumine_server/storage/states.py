"""Detector states: one row per run, and the newest of them in memory, where the run's row says that they still hold.

A state is saved every few uploads only: it is as large as what it was made of. What a crash takes is folded again from
the stored uploads behind it. One that cannot be read is as good as none, but is not made up for
in the transaction of an upload: that would hold up all the others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy
from relumine_server.errors import Busy
from relumine_server.storage import journal
from relumine_server.storage import tables as t
from relumine_server.storage.dialect import insert

Version: TypeAlias = tuple[str, int, datetime | None]
"""Session, seq and moment of the last upload that a state includes."""

NOTHING: Version = ("", 0, None)


class Folded(NamedTuple):
    """A state, and how many uploads it includes that no saved state does."""

    state: detector.DetectorState
    unsaved: int


class Cache:
    """Newest states by run, the least used given up beyond ``capacity`` bytes. Safe to share between threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._states: OrderedDict[str, tuple[Version, Folded]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, run_id: str, version: Version) -> Folded | None:
        """The state of a run, if it is of exactly this version."""
        with self._lock:
            found = self._states.get(run_id)
            if found is None or found[0] != version:
                return None
            self._states.move_to_end(run_id)
            return found[1]

    def put(self, run_id: str, version: Version, folded: Folded) -> None:
        """Remember a state. If its transaction fails after all, its version will fit no row."""
        with self._lock:
            before = self._states.pop(run_id, None)
            self._size += _size(folded) - (0 if before is None else _size(before[1]))
            self._states[run_id] = (version, folded)
            while self._size > self._capacity and len(self._states) > 1:
                _, (_, oldest) = self._states.popitem(last=False)
                self._size -= _size(oldest)


def _size(folded: Folded) -> int:
    return folded.state.units.nbytes + 2_000 * len(folded.state.layers) + 2_000


def version_of(run: sa.Row[Any]) -> Version:
    """The version that a run's row asks for."""
    return NOTHING if run.folded_session is None else (run.folded_session, run.folded_seq, run.folded_at)


class StateLost(Busy):
    """The saved state of a run cannot be read; callers who cannot wait until it is folded again may come back later."""

    def __init__(self, saved: sa.Row[Any], error: Exception) -> None:
        super().__init__()
        self.run_id: str = saved.run_id
        self.mark = saved.session, saved.seq, saved.updated_at
        self.reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]


def load(connection: sa.Connection, run_id: str, policy: Policy) -> Folded:
    """The saved state of a run with all that was folded since; an empty one where there is none. Raises StateLost."""
    row = connection.execute(sa.select(t.detector_states).where(t.detector_states.c.run_id == run_id)).first()
    state, after = (detector.empty(), ("", 0)) if row is None else (_read(row), (row.session, row.seq))
    unsaved = 0
    for _session, _seq, records in journal.tables(connection, run_id, after):
        state, _readings, _findings = onset.advance(state, records, policy)
        unsaved += 1
    return Folded(state, unsaved)


def _read(row: sa.Row[Any]) -> detector.DetectorState:
    try:
        return detector.from_bytes(row.state)
    except Exception as error:  # bytes of another version, or torn ones, fail in a dozen ways
        raise StateLost(row, error) from error


def find_lost(connection: sa.Connection, run_id: str) -> StateLost | None:
    """What is wrong with the saved state of a run; None where it can be read, or there is none."""
    row = connection.execute(sa.select(t.detector_states).where(t.detector_states.c.run_id == run_id)).first()
    try:
        if row is not None:
            _read(row)
    except StateLost as lost:
        return lost
    return None


def is_still(connection: sa.Connection, lost: StateLost) -> bool:
    """Whether the state that was lost is still the one that is saved."""
    c = t.detector_states.c
    row = connection.execute(sa.select(c.session, c.seq, c.updated_at).where(c.run_id == lost.run_id)).first()
    return row is not None and tuple(row) == lost.mark


def saved_version(connection: sa.Connection, run_id: str) -> tuple[str, int]:
    """Session and seq of the last upload that the saved state includes."""
    c = t.detector_states.c
    row = connection.execute(sa.select(c.session, c.seq).where(c.run_id == run_id)).first()
    return ("", 0) if row is None else (row.session, row.seq)


def save(
    connection: sa.Connection, run_id: str, session: str, seq: int, state: detector.DetectorState, now: datetime
) -> None:
    """Put the state in place of the one before."""
    values = {"session": session, "seq": seq, "state": detector.to_bytes(state), "updated_at": now}
    statement = insert(connection, t.detector_states).values(run_id=run_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id"], set_=values))
