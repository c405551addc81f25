"""The detector's state: one row per run, with the upload it includes and the latest reading of every layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine_server.detection import state as detector
from relumine_server.detection.findings import Reading
from relumine_server.storage import runs
from relumine_server.storage import tables as t


class Folded(NamedTuple):
    """The state of a run and the last upload folded into it; nothing was folded where ``seq`` is 0."""

    session: str
    seq: int
    state: detector.DetectorState
    readings: dict[str, dict[str, Any]]


def load(connection: sa.Connection, run_id: str) -> Folded:
    """The state of a run; an empty one where there is none."""
    row = connection.execute(sa.select(t.detector_states).where(t.detector_states.c.run_id == run_id)).first()
    if row is None:
        return Folded("", 0, detector.empty(), {})
    return Folded(row.session, row.last_seq, detector.from_bytes(row.state), row.readings)


def save(connection: sa.Connection, run_id: str, folded: Folded, now: datetime) -> None:
    """Put the state in place of the one before."""
    values = {
        "session": folded.session,
        "last_seq": folded.seq,
        "state": detector.to_bytes(folded.state),
        "readings": folded.readings,
        "updated_at": now,
    }
    statement = runs.insert(connection, t.detector_states).values(run_id=run_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id"], set_=values))


def latest(readings: dict[str, dict[str, Any]], new: Iterable[Reading]) -> dict[str, dict[str, Any]]:
    """The latest reading of every layer, by its id as text (keys of JSON are text)."""
    return {**readings, **{str(reading.layer_id): asdict(reading) for reading in new}}


def load_readings(connection: sa.Connection, run_id: str) -> dict[str, dict[str, Any]]:
    """Only the latest readings, without the state."""
    query = sa.select(t.detector_states.c.readings).where(t.detector_states.c.run_id == run_id)
    found: dict[str, dict[str, Any]] | None = connection.scalar(query)
    return found or {}
