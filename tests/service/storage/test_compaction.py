"""Compaction changes how series are stored, never what is read of them; a crash between two pieces changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import func, select

from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.ingest import Ingest
from relumine_server.storage import compaction, encoding, journal, migrate, segments, series
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="a", units=3), LayerInfo(layer_id=2, name="b", units=2)]
EVERYTHING = {"steps": (0, 2**50), "points": None}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK", 64)
    monkeypatch.setattr(compaction, "PIECE", 640)


@pytest.fixture
def store(database_url):
    opened = Store.open(database_url)
    migrate.upgrade(opened.writing_engine)
    yield opened
    opened.close()


def record(layer: int, step: int, rng) -> Record:
    units = {0: 0, 1: 3, 2: 2}[layer]
    values = {"active": rng.integers(0, 9, units).tolist()} if layer else {"learning_rates": [0.1, 1 / step]}
    return Record(
        layer_id=layer, first_step=step, step=step, n_examples=8, n_positions=8 * layer,
        weight_norm=rng.random() if step % 3 else None, loss=None if layer else rng.random(), **values,
    )  # fmt: skip


def fill(
    store: Store, uploads: int, steps: int, *, session: str = "s1", begin: int = 1, every: int = 1, first_seq: int = 1,
    closing: bool = False,
) -> None:  # fmt: skip
    rng, ingest = np.random.default_rng(1), Ingest("")
    for number in range(uploads):
        first = begin + number * steps
        records = [record(layer, every * step, rng) for step in range(first, first + steps) for layer in (0, 1, 2)]
        end = "finished" if closing and number == uploads - 1 else None
        seq, run = 10 * (first_seq + number), RunInfo(id="r1")
        one = Upload(run=run, session=session, seq=seq, layers=LAYERS, records=records, closing=end)
        store.write(lambda c, one=one: ingest.take(c, one, NOW))


def compact(store: Store) -> int:
    """All pieces that are due; their number."""
    pieces = 0
    with store.read() as connection:
        due = compaction.due(connection, 10)
    while due and store.write(lambda c: compaction.compact(c, "r1")):
        pieces += 1
    return pieces


def read(store: Store):
    with store.read() as connection:
        names = encoding.STATISTICS
        whole = series.spread(connection, "r1", [0, 1, 2], names, **EVERYTHING)
        late = series.spread(connection, "r1", [0, 1, 2], ["loss"], steps=(150, 160), points=None)
        folded = [(s, q, [row[2:] for row in table]) for s, q, table in journal.tables(connection, "r1")]
        rows = [row for *_, table in journal.tables(connection, "r1") for row in table]
        units = [{name: values.tolist() for name, values in row.arrays().items()} for row in rows]
        return whole, late, folded, units, segments.latest_readings(connection, "r1", [1, 2])


def same(a, b) -> bool:
    return all(
        np.array_equal(a[layer].step, b[layer].step)
        and all(np.array_equal(a[layer].latest[n], b[layer].latest[n], equal_nan=True) for n in a[layer].latest)
        for layer in (0, 1, 2)
    )


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_what_is_read_stays_the_same_to_the_last_bit(store, steps):
    fill(store, -(-300 // steps), steps)
    before = read(store)
    assert compact(store) >= 1
    after = read(store)
    assert same(before[0], after[0])
    assert same(before[1], after[1])
    assert before[2:] == after[2:]
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.chunks)) > 0
        assert connection.scalar(select(t.runs.c.loose_records)) < 2 * compaction.CHUNK
        assert compaction.due(connection, 10) == []


def test_a_run_that_ended_is_compacted_whole_except_for_its_last_segments(store):
    fill(store, 20, 3, closing=True)
    before = read(store)
    assert compact(store) == 1
    assert same(before[0], read(store)[0])
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.segments)) == 3
        assert compaction.due(connection, 10) == []
    assert compact(store) == 0


def test_an_interrupted_pass_is_taken_up_where_it_stopped(store, monkeypatch):
    monkeypatch.setattr(compaction, "PIECE", 1)
    fill(store, 100, 3)
    before = read(store)
    assert store.write(lambda c: compaction.compact(c, "r1")) > 0  # … and then the process died
    assert same(before[0], read(store)[0])
    assert compact(store) >= 3
    assert same(before[0], read(store)[0])


def test_what_the_saved_state_lacks_is_left_to_be_folded_again(store):
    fill(store, 9, 100)
    with store.read() as connection:
        saved = connection.execute(select(t.detector_states.c.seq)).scalar_one()
    compact(store)
    with store.read() as connection:
        assert connection.scalar(select(func.max(t.chunks.c.last_seq))) <= saved


def test_late_uploads_are_read_in_their_place_whether_compacted_or_not(store):
    fill(store, 100, 3, every=2)
    compact(store)
    ingest, rng = Ingest(""), np.random.default_rng(2)
    for seq, step in ((15, 7), (905, 251)):  # amid what is compacted, and near the end
        late = Upload(run=RunInfo(id="r1"), session="s1", seq=seq, layers=LAYERS, records=[record(1, step, rng)])
        store.write(lambda c, late=late: ingest.take(c, late, NOW))
        with store.read() as connection:
            assert step in series.load(connection, "r1", [1], ["n_examples"], steps=(0, 2**50))[1]["step"]
    before = read(store)
    fill(store, 100, 3, every=2, begin=301, first_seq=101)
    compact(store)
    found = read(store)[0][1]
    assert np.isin(before[0][1].step, found.step).all()
    assert (np.diff(found.step) > 0).all()


def test_a_newer_session_takes_over_within_a_chunk(store):
    fill(store, 100, 3)
    compact(store)
    fill(store, 100, 1, session="s2", begin=150)
    compact(store)
    with store.read() as connection:
        found = series.spread(connection, "r1", [2], ["n_examples"], **EVERYTHING)[2]
        few = series.spread(connection, "r1", [2], ["n_examples"], steps=(0, 2**50), points=2)[2]
    assert found.step.tolist() == list(range(1, 250))
    assert int(few.weight.sum()) == 249


def test_many_chunks_are_answered_from_their_summaries_with_the_extremes_kept(store):
    fill(store, 40, 30)
    compact(store)
    with store.read() as connection:
        whole = series.load(connection, "r1", [0, 1], ["weight_norm", "loss"], steps=(0, 2**50))
        for names in (["weight_norm"], ["weight_norm", "loss"], []):
            few = series.spread(connection, "r1", [0, 1], names, steps=(100, 1100), points=8)
            assert {layer_id: int(one.weight.sum()) for layer_id, one in few.items()} == {0: 1001, 1: 1001}
            assert few[1].step.size < 400
            for layer_id, name in ((layer_id, name) for layer_id in (0, 1) for name in names):
                kept = whole[layer_id][name][(whole[layer_id]["step"] >= 100) & (whole[layer_id]["step"] <= 1100)]
                assert np.array_equal(np.fmin.reduce(few[layer_id].least[name]), np.fmin.reduce(kept), equal_nan=True)
                assert np.array_equal(
                    np.fmax.reduce(few[layer_id].greatest[name]), np.fmax.reduce(kept), equal_nan=True
                )
