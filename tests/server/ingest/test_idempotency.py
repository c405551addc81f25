"""A series gives the same alerts however it is split into uploads, repeated, or interrupted by restarts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from relumine.schemas.alert import problem_of
from relumine.schemas.record import Record
from relumine.schemas.record_table import Row
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.alerts import queries as alert_queries
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from relumine_server.ingest.service import IngestService
from relumine_server.timeseries.replay import stored_uploads
from tests.helpers import databases

UNITS = 24
N = 64
STEPS = 40
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="act1", units=UNITS), LayerInfo(layer_id=2, name="act2", units=UNITS)]


def series() -> list[Record]:
    """Two layers at 40 sampled steps; the learning rate rises at the 20th, then the first layer loses most units."""
    rng = np.random.default_rng(7)
    silent = np.zeros((2, UNITS), int)
    records = []
    for number in range(STEPS):
        rate = 0.1 if number < 20 else 1.0
        step = 10 * number + 1
        records.append(Record(layer_id=0, first_step=step, step=step, n_examples=N, learning_rates=[rate], loss=1.0))
        for layer in (1, 2):
            active = rng.binomial(N, 0.3, UNITS)
            if layer == 1 and number > 20:
                active[: 3 * UNITS // 4] = 0
            silent[layer - 1] = np.where(active > 0, 0, silent[layer - 1] + N)
            columns = {"active": active.tolist(), "silent": silent[layer - 1].tolist()}
            records.append(Record(layer_id=layer, first_step=step, step=step, n_examples=N, n_positions=N, **columns))
    return records


SERIES = series()


def upload(seq: int, records: list[Record], layers=LAYERS, **options) -> Upload:
    built = Upload(run=RunInfo(id="r1", name="n"), session="s1", seq=seq, layers=layers, records=records, **options)
    return Upload.model_validate_json(built.model_dump_json(exclude_none=True))


def send(database: Database, upload: Upload, ingest: IngestService | None = None):
    return database.write(lambda c: (ingest or IngestService("http://x")).ingest(c, upload, NOW)).response


def opened(url: str) -> Database:
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    return database


def processed_records(connection) -> list[Row]:
    """Every record that the detector has processed, from the tables."""
    return [row for stored in stored_uploads(connection, "r1") for row in stored.records]


def alerts_of(database: Database):
    with database.read() as connection:
        return [alert.model_dump() for alert in alert_queries.load_run(connection, "r1", "http://x")]


@pytest.fixture(scope="module")
def alerts_of_one_upload(tmp_path_factory):
    """The alerts of the series in one upload."""
    database = opened(f"sqlite:///{tmp_path_factory.mktemp('one-upload') / 'x.db'}")
    send(database, upload(1, SERIES))
    alerts = alerts_of(database)
    database.close()
    assert {alert["kind"] for alert in alerts} == {"dead"}
    return alerts


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_any_split_with_restarts_between_gives_the_same_alerts(kind, alerts_of_one_upload, new_database):
    url = new_database(kind)

    @settings(max_examples=15)
    @given(cuts=st.sets(st.integers(1, len(SERIES) - 1), max_size=12), restarts=st.sets(st.integers(1, 13)))
    def check(cuts, restarts):
        send_in_parts(url, cuts, restarts, alerts_of_one_upload)

    check()


def send_in_parts(url, cuts, restarts, alerts_of_one_upload):
    database = Database.open(url)
    databases.empty(database)
    ingest = IngestService("http://x")
    for seq, (start, end) in enumerate(pairwise([0, *sorted(cuts), len(SERIES)]), start=1):
        send(database, upload(seq, SERIES[start:end], LAYERS if seq == 1 else []), ingest)
        if seq in restarts:
            database.close()
            database = Database.open(url)
            ingest = IngestService("http://x")
    assert alerts_of(database) == alerts_of_one_upload
    with database.read() as connection:
        records = processed_records(connection)
    _, findings = replay(LAYERS, records, Policy())
    problems = {(finding.layer_id, problem_of(finding.kind)) for finding in findings}
    assert problems == {(alert["layer_id"], problem_of(alert["kind"])) for alert in alerts_of_one_upload}
    database.close()


def test_the_same_upload_three_times_is_stored_once(database_url):
    database = opened(database_url)
    answers = [send(database, upload(1, SERIES)) for _ in range(3)]
    assert [answer.duplicate for answer in answers] == [False, True, True]
    assert [answer.accepted for answer in answers] == [len(SERIES), 0, 0]
    with database.read() as connection:
        counts = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in (tables.uploads, tables.segments, tables.unit_stats)
        }
    assert counts == {"uploads": 1, "segments": 3, "unit_stats": STEPS}
    database.close()


def test_a_late_upload_is_stored_and_not_processed(database_url, alerts_of_one_upload):
    database = opened(database_url)
    send(database, upload(2, SERIES))
    assert send(database, upload(1, SERIES[:3])).duplicate is False
    assert alerts_of(database) == alerts_of_one_upload
    with database.read() as connection:
        u = tables.uploads.c
        rows = connection.execute(select(u.seq, u.late, u.processed).order_by(u.seq))
        assert [tuple(row) for row in rows] == [(1, True, False), (2, False, True)]
        assert len(processed_records(connection)) == len(SERIES)
    database.close()


def test_of_eight_equal_uploads_at_once_one_is_stored(database_url):
    database = opened(database_url)
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: send(database, upload(1, SERIES[:30])), range(8)))
        others = list(pool.map(lambda n: send(database, other_run(n)), range(24)))
    assert sorted(answer.duplicate for answer in same) == [False] + [True] * 7
    assert not any(answer.duplicate for answer in others)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.uploads)) == 25
        assert connection.scalar(select(func.count()).select_from(tables.runs)) == 25
    database.close()


def other_run(number: int) -> Upload:
    """The same records in another run of a shared project."""
    return upload(1, SERIES[:3]).model_copy(update={"run": RunInfo(id=f"run{number}", project="shared")})
