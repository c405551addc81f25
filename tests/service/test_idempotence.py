"""One series gives one set of alerts, however it is cut into uploads, repeated, or interrupted by restarts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from relumine.table import Row
from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from relumine_server.ingest import Ingest
from relumine_server.storage import alerts, journal, migrate
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

UNITS, N, STEPS = 24, 64, 40
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="act1", units=UNITS), LayerInfo(layer_id=2, name="act2", units=UNITS)]


def series() -> list[Record]:
    """Two layers at 40 looks; the rate is raised at look 20, then the first loses three quarters of its units."""
    rng = np.random.default_rng(7)
    silent = np.zeros((2, UNITS), int)
    records = []
    for look in range(STEPS):
        rate = 0.1 if look < 20 else 1.0
        step = 10 * look + 1
        records.append(Record(layer_id=0, first_step=step, step=step, n_examples=N, learning_rates=[rate], loss=1.0))
        for layer in (1, 2):
            active = rng.binomial(N, 0.3, UNITS)
            if layer == 1 and look > 20:
                active[: 3 * UNITS // 4] = 0
            silent[layer - 1] = np.where(active > 0, 0, silent[layer - 1] + N)
            columns = {"active": active.tolist(), "silent": silent[layer - 1].tolist()}
            records.append(Record(layer_id=layer, first_step=step, step=step, n_examples=N, n_positions=N, **columns))
    return records


SERIES = series()


def upload(seq: int, records: list[Record], layers=LAYERS, **more) -> Upload:
    made = Upload(run=RunInfo(id="r1", name="n"), session="s1", seq=seq, layers=layers, records=records, **more)
    return Upload.model_validate_json(made.model_dump_json(exclude_none=True))


def post(store: Store, one: Upload, ingest: Ingest | None = None):
    return store.write(lambda c: (ingest or Ingest("http://x")).take(c, one, NOW)).accepted


def opened(url: str) -> Store:
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    return store


def folded(connection) -> list[Row]:
    """Every record that was folded, from the tables."""
    return [row for _session, _seq, table in journal.tables(connection, "r1") for row in table]


def told(store: Store):
    with store.read() as connection:
        return [alert.model_dump() for alert in alerts.of_run(connection, "r1", "http://x")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The alerts when everything comes in one upload."""
    store = opened(f"sqlite:///{tmp_path_factory.mktemp('whole') / 'x.db'}")
    post(store, upload(1, SERIES))
    found = told(store)
    store.close()
    assert {alert["kind"] for alert in found} == {"dying", "dead"}
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, len(SERIES) - 1), max_size=12), restarts=st.sets(st.integers(1, 13)))
def test_any_split_with_restarts_between_gives_the_same_alerts(kind, cuts, restarts, whole, new_database):
    url = new_database(kind)
    store, ingest = opened(url), Ingest("http://x")
    edges = [0, *sorted(cuts), len(SERIES)]
    for seq, (begin, end) in enumerate(zip(edges, edges[1:]), start=1):  # noqa: B905 - the pairs overlap by design
        post(store, upload(seq, SERIES[begin:end], LAYERS if seq == 1 else []), ingest)
        if seq in restarts:
            store.close()
            store, ingest = opened(url), Ingest("http://x")
    assert told(store) == whole
    with store.read() as connection:
        records = folded(connection)
    _, findings = replay(LAYERS, records, Policy())
    assert {(f.layer_id, f.kind) for f in findings} == {(a["layer_id"], a["kind"]) for a in whole}
    store.close()


def test_the_same_upload_three_times_is_stored_once(database_url):
    store = opened(database_url)
    answers = [post(store, upload(1, SERIES)) for _ in range(3)]
    assert [answer.duplicate for answer in answers] == [False, True, True]
    assert [answer.accepted for answer in answers] == [len(SERIES), 0, 0]
    with store.read() as connection:
        counts = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in (t.uploads, t.segments, t.unit_rows)
        }
    assert counts == {"uploads": 1, "segments": 3, "unit_rows": STEPS}
    store.close()


def test_an_upload_that_comes_late_is_stored_and_not_folded(database_url, whole):
    store = opened(database_url)
    post(store, upload(2, SERIES))
    assert post(store, upload(1, SERIES[:3])).duplicate is False
    assert told(store) == whole
    with store.read() as connection:
        rows = connection.execute(
            select(t.uploads.c.seq, t.uploads.c.late, t.uploads.c.folded).order_by(t.uploads.c.seq)
        )
        assert [tuple(row) for row in rows] == [(1, True, False), (2, False, True)]
        assert len(folded(connection)) == len(SERIES)
    store.close()


def test_eight_at_once_store_each_upload_once(database_url):
    store = opened(database_url)
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: post(store, upload(1, SERIES[:30])), range(8)))
        others = list(pool.map(lambda n: post(store, other_run(n)), range(24)))
    assert sorted(answer.duplicate for answer in same) == [False] + [True] * 7
    assert not any(answer.duplicate for answer in others)
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.uploads)) == 25
        assert connection.scalar(select(func.count()).select_from(t.runs)) == 25
    store.close()


def other_run(number: int) -> Upload:
    """The same records of a run of its own, all in one project."""
    return upload(1, SERIES[:3]).model_copy(update={"run": RunInfo(id=f"run{number}", project="shared")})
