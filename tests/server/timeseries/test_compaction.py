"""Compaction changes how series are stored, never what is read of them; a crash between two batches loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest
from sqlalchemy import func, select

from relumine.schemas.record import Record
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.db import tables
from relumine_server.db.database import Database
from relumine_server.ingest.service import IngestService
from relumine_server.timeseries import codec, compaction, replay, segments
from relumine_server.timeseries import queries as series_queries

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="a", units=3), LayerInfo(layer_id=2, name="b", units=2)]
EVERYTHING = {"steps": (0, 2**50), "points": None}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK_RECORDS", 16)
    monkeypatch.setattr(compaction, "BATCH_RECORDS", 160)


def record(layer: int, step: int, rng) -> Record:
    units = {0: 0, 1: 3, 2: 2}[layer]
    values = {"active": rng.integers(0, 9, units).tolist()} if layer else {"learning_rates": [0.1, 1 / step]}
    return Record(
        layer_id=layer, first_step=step, step=step, n_examples=8, n_positions=8 * layer,
        weight_norm=rng.random() if step % 3 else None, loss=None if layer else rng.random(), **values,
    )  # fmt: skip


def fill(
    database: Database, uploads: int, steps: int, *, session: str = "s1", start: int = 1, every: int = 1,
    first_seq: int = 1, final_status: str | None = None,
) -> None:  # fmt: skip
    """Ingest uploads of ``steps`` steps each; the last one ends the run with ``final_status``."""
    rng = np.random.default_rng(1)
    ingest = IngestService("")
    for number in range(uploads):
        first = start + number * steps
        upload = Upload(
            run=RunInfo(id="r1"),
            session=session,
            seq=10 * (first_seq + number),
            layers=LAYERS,
            records=[record(layer, every * step, rng) for step in range(first, first + steps) for layer in (0, 1, 2)],
            final_status=final_status if number == uploads - 1 else None,
        )
        database.write(lambda c, upload=upload: ingest.ingest(c, upload, NOW))


def compact(database: Database) -> int:
    """Compact everything that is due; returns the number of batches."""
    batches = 0
    with database.read() as connection:
        is_due = bool(compaction.due(connection, 10))
    while is_due and database.write(lambda c: compaction.compact(c, "r1")):
        batches += 1
    return batches


class Answers(NamedTuple):
    """Everything that is read of a run."""

    series: dict
    late_series: dict
    processed: list
    units: list
    readings: dict


def read(database: Database) -> Answers:
    with database.read() as connection:
        uploads = list(replay.stored_uploads(connection, "r1"))
        rows = [row for upload in uploads for row in upload.records]
        late = {"steps": (37, 47), "points": None}
        return Answers(
            series=series_queries.read_extremes(connection, "r1", [0, 1, 2], codec.STATISTICS, **EVERYTHING),
            late_series=series_queries.read_extremes(connection, "r1", [0, 1, 2], ["loss"], **late),
            processed=[(*upload.position, [row[2:] for row in upload.records]) for upload in uploads],
            units=[{name: values.tolist() for name, values in row.arrays().items()} for row in rows],
            readings=segments.latest_readings(connection, "r1"),
        )


def are_equal(series, other) -> bool:
    return all(
        np.array_equal(series[layer].step, other[layer].step)
        and all(np.array_equal(series[layer].last[n], other[layer].last[n], equal_nan=True) for n in series[layer].last)
        for layer in (0, 1, 2)
    )


@pytest.mark.parametrize("steps", [1, 7, 25])
def test_what_is_read_stays_the_same_to_the_last_bit(database, steps):
    fill(database, -(-75 // steps), steps)
    answers = read(database)
    assert compact(database) >= 1
    compacted = read(database)
    assert are_equal(answers.series, compacted.series)
    assert are_equal(answers.late_series, compacted.late_series)
    assert answers[2:] == compacted[2:]
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.chunks)) > 0
        assert connection.scalar(select(tables.runs.c.uncompacted_records)) < 2 * compaction.CHUNK_RECORDS
        assert compaction.due(connection, 10) == []


def test_a_run_that_ended_is_compacted_except_for_its_last_segments(database):
    fill(database, 10, 3, final_status="finished")
    series = read(database).series
    assert compact(database) == 1
    assert are_equal(series, read(database).series)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.segments)) == 3
        assert compaction.due(connection, 10) == []
    assert compact(database) == 0


def test_an_interrupted_compaction_continues_where_it_stopped(database, monkeypatch):
    monkeypatch.setattr(compaction, "BATCH_RECORDS", 1)
    fill(database, 30, 3)
    series = read(database).series
    assert database.write(lambda c: compaction.compact(c, "r1")) > 0  # … and then the process died
    assert are_equal(series, read(database).series)
    assert compact(database) >= 3
    assert are_equal(series, read(database).series)


def test_uploads_after_the_saved_state_are_not_compacted(database):
    fill(database, 9, 25)
    with database.read() as connection:
        saved = connection.execute(select(tables.detector_states.c.seq)).scalar_one()
    compact(database)
    with database.read() as connection:
        assert connection.scalar(select(func.max(tables.chunks.c.last_seq))) <= saved


def test_late_uploads_are_read_at_their_steps_whether_compacted_or_not(database):
    fill(database, 30, 3, every=2)
    compact(database)
    ingest = IngestService("")
    rng = np.random.default_rng(2)
    for seq, step in ((15, 7), (275, 83)):  # within what is compacted, and near the end
        late = Upload(run=RunInfo(id="r1"), session="s1", seq=seq, layers=LAYERS, records=[record(1, step, rng)])
        database.write(lambda c, late=late: ingest.ingest(c, late, NOW))
        with database.read() as connection:
            series = series_queries.read_series(connection, "r1", [1], ["n_examples"], steps=(0, 2**50))
        assert step in series[1]["step"]
    steps = read(database).series[1].step
    fill(database, 30, 3, every=2, start=91, first_seq=31)
    compact(database)
    compacted = read(database).series[1].step
    assert np.isin(steps, compacted).all()
    assert (np.diff(compacted) > 0).all()


def test_a_newer_session_takes_over_within_a_chunk(database):
    fill(database, 30, 3)
    compact(database)
    fill(database, 30, 1, session="s2", start=40)
    compact(database)
    with database.read() as connection:
        every = series_queries.read_extremes(connection, "r1", [2], ["n_examples"], **EVERYTHING)[2]
        few = series_queries.read_extremes(connection, "r1", [2], ["n_examples"], steps=(0, 2**50), points=2)[2]
    assert every.step.tolist() == list(range(1, 70))
    assert int(few.weight.sum()) == 69


def test_many_chunks_are_answered_from_their_summaries_with_exact_extremes(database):
    fill(database, 40, 8)
    compact(database)
    with database.read() as connection:
        every = series_queries.read_series(connection, "r1", [0, 1], ["weight_norm", "loss"], steps=(0, 2**50))
        for names in (["weight_norm"], ["weight_norm", "loss"], []):
            few = series_queries.read_extremes(connection, "r1", [0, 1], names, steps=(27, 293), points=8)
            assert {layer_id: int(series.weight.sum()) for layer_id, series in few.items()} == {0: 267, 1: 267}
            assert few[1].step.size < 107
            for layer_id in (0, 1):
                steps = every[layer_id]["step"]
                is_inside = (steps >= 27) & (steps <= 293)
                for name in names:
                    inside = every[layer_id][name][is_inside]
                    minimum = np.fmin.reduce(few[layer_id].min[name])
                    maximum = np.fmax.reduce(few[layer_id].max[name])
                    assert np.array_equal(minimum, np.fmin.reduce(inside), equal_nan=True)
                    assert np.array_equal(maximum, np.fmax.reduce(inside), equal_nan=True)
