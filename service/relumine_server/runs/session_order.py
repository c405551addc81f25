"""The order of a run's sessions: the server numbers them as they arrive, and asks no client's clock.

The number is the first part of the key under which a session is stored, so sessions sort by it in every table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.upload import Upload
from relumine_server.db import tables
from relumine_server.runs.rows import LockedRun

FIRST_NUMBER = 2**38
SPACING = 2**20
"""Between two sessions that arrive one after the other: room for some that are sent afterwards."""
_DIGITS = 12


class RunSession(NamedTuple):
    """The session of an upload among those of its run, as it was before the upload.

    ``key`` is what it is stored under, ``previous`` the key of the session before a new one. ``is_newest``: no later
    session is stored. ``is_new``: the detector has processed none of its uploads. ``last_seq`` and ``received_at`` are
    those of its last processed upload, ``first_step`` that of its first record. ``has_state`` is False for an older
    session whose detector state is no longer stored: what it uploads is stored, and not analyzed.
    """

    key: str
    is_newest: bool
    is_new: bool = False
    previous: str | None = None
    last_seq: int = 0
    received_at: datetime | None = None
    first_step: int | None = None
    has_state: bool = True


class KnownSession(NamedTuple):
    """A stored session, and the step of its first record."""

    key: str
    first_step: int | None


def session_key(number: int, client_session: str) -> str:
    """Return the key of a session."""
    return f"{number:0{_DIGITS}d}-{client_session}"


def client_session(key: str) -> str:
    """Return the session as its client named it."""
    return key[_DIGITS + 1 :]


def number_of_new(sessions: Sequence[KnownSession], first_step: int | None, *, is_replayed: bool) -> int:
    """Return the number of a session that is not stored yet; ``sessions`` are those that are, in their order.

    It comes last, unless it is replayed from a disk: a training that was written to disk may be older than one that the
    server knows. It then comes before the first session with later steps.
    """
    if not sessions:
        return FIRST_NUMBER
    numbers = [int(session.key[:_DIGITS]) for session in sessions]
    if is_replayed and first_step is not None:
        bounds = pairwise([numbers[0] - 2 * SPACING, *numbers])
        for session, (lower, upper) in zip(sessions, bounds, strict=True):
            has_later_steps = session.first_step is not None and session.first_step > first_step
            if has_later_steps and upper - lower > 1:
                return (lower + upper) // 2
    return numbers[-1] + SPACING


def locate(connection: sa.Connection, run: LockedRun, upload: Upload, *, is_replayed: bool) -> RunSession:
    """Return the session of an upload among those of its run. Nothing is stored by this."""
    newest = run.detector_session
    if newest is not None and client_session(newest) == upload.session:
        return RunSession(
            newest,
            is_newest=True,
            last_seq=run.detector_seq or 0,
            received_at=run.last_heartbeat_at,
            first_step=run.session_first_step,
        )
    c = tables.run_sessions.c
    query = sa.select(c.session, c.first_step).where(c.run_id == run.run_id)
    row = connection.execute(query.where(c.client_session == upload.session)).first()
    if row is None:
        return _new_session(connection, run, upload, is_replayed=is_replayed)
    if newest is None or row.session > newest:  # so far only other ranks have uploaded in it
        return RunSession(row.session, is_newest=True, is_new=True, previous=newest)
    return _older_session(connection, run.run_id, KnownSession(*row))


def earliest_step(connection: sa.Connection, run_id: str, until: str) -> int | None:
    """Return the first step of the sessions before the one with key ``until``; None where they have no record."""
    c = tables.run_sessions.c
    query = sa.select(sa.func.min(c.first_step)).where(c.run_id == run_id, c.session < until)
    step: int | None = connection.scalar(query)
    return step


def _new_session(connection: sa.Connection, run: LockedRun, upload: Upload, *, is_replayed: bool) -> RunSession:
    c = tables.run_sessions.c
    query = sa.select(c.session, c.first_step).where(c.run_id == run.run_id).order_by(c.session)
    sessions = [KnownSession(*row) for row in connection.execute(query)]
    steps = upload.records.scalars["step"]
    first_step = int(steps.min()) if len(steps) else None
    number = number_of_new(sessions, first_step, is_replayed=is_replayed)
    key = session_key(number, upload.session)
    if run.detector_session is None or key > run.detector_session:
        return RunSession(key, is_newest=True, is_new=True, previous=run.detector_session)
    return RunSession(key, is_newest=False, is_new=True, previous=_previous(connection, run.run_id, key))


def _previous(connection: sa.Connection, run_id: str, key: str) -> str | None:
    """Return the last session before the one with this key of which a detector state is stored."""
    s = tables.detector_states.c
    query = sa.select(sa.func.max(s.session)).where(s.run_id == run_id, s.session < key)
    previous: str | None = connection.scalar(query)
    return previous


def _older_session(connection: sa.Connection, run_id: str, session: KnownSession) -> RunSession:
    u = tables.uploads.c
    of_session = (u.run_id == run_id, u.session == session.key, u.rank == 0, u.processed)
    query = sa.select(u.seq, u.received_at).where(*of_session).order_by(u.seq.desc()).limit(1)
    last = connection.execute(query).first()
    if last is None:  # so far only other ranks have uploaded in it
        previous = _previous(connection, run_id, session.key)
        return RunSession(session.key, is_newest=False, is_new=True, previous=previous)
    s = tables.detector_states.c
    state = sa.select(s.seq).where(s.run_id == run_id, s.session == session.key)
    return RunSession(
        session.key,
        is_newest=False,
        last_seq=last.seq,
        received_at=last.received_at,
        first_step=session.first_step,
        has_state=connection.execute(state).first() is not None,
    )
