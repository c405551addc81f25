"""Uploads that arrive three times, in any order, from many runs at once: stored once, analyzed as if in order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import func, select

from relumine.schemas.record import Record
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.alerts import queries as alert_queries
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.ingest.service import IngestService

UNITS = 24
N = 64
STEPS = 40
RUNS = 8
NOW = datetime(2026, 1, 1, tzinfo=UTC)
INGEST = IngestService("http://x")
LAYER = LayerInfo(layer_id=1, name="act1", units=UNITS)


def uploads(run: str, seed: int) -> list[Upload]:
    """Twenty uploads of two sampled steps each; in the second half three quarters of the units fall silent."""
    rng = np.random.default_rng(seed)
    silent = np.zeros(UNITS, int)
    records = []
    for number in range(STEPS):
        active = rng.binomial(N, 0.3, UNITS)
        if number > STEPS // 2:
            active[: 3 * UNITS // 4] = 0
        silent = np.where(active > 0, 0, silent + N)
        step = 10 * number + 1
        columns = {"active": active.tolist(), "silent": silent.tolist()}
        records.append(Record(layer_id=0, first_step=step, step=step, n_examples=N, learning_rates=[0.1], loss=1.0))
        records.append(Record(layer_id=1, first_step=step, step=step, n_examples=N, n_positions=N, **columns))
    parts = [records[start : start + 4] for start in range(0, len(records), 4)]
    return [
        Upload(run=RunInfo(id=run), session="s1", seq=seq, layers=[LAYER], records=part)
        for seq, part in enumerate(parts, start=1)
    ]


def alerts_of(database: Database, run: str):
    with database.read() as connection:
        alerts = alert_queries.load_run(connection, run, "")
    compared = [alert.model_dump(exclude={"id", "run_id", "run", "url", "message"}) for alert in alerts]
    return sorted(compared, key=lambda alert: (alert["layer_id"], alert["kind"]))


def opened(url: str) -> Database:
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    return database


def send(database: Database, upload: Upload):
    return database.write(lambda c: INGEST.ingest(c, upload, NOW)).response


def test_each_is_stored_once_and_alerts_are_those_of_uploads_in_order(new_database):
    for kind in ("sqlite", "postgresql"):
        database = opened(new_database(kind))
        orders = {}
        for number in range(RUNS):
            thrice = uploads(f"r{number}", number) * 3
            random.Random(number).shuffle(thrice)  # noqa: S311 - an order, not a secret
            orders[f"r{number}"] = thrice

        def send_all(run, database=database, orders=orders):
            return [send(database, upload).duplicate for upload in orders[run]]

        with ThreadPoolExecutor(RUNS) as pool:
            duplicates = dict(zip(orders, pool.map(send_all, orders), strict=True))
        _check_stored(database, orders, duplicates)
        _check_alerts(database, orders, opened(new_database(kind)))
        database.close()


def _check_stored(database, orders, duplicates):
    unique = STEPS // 2
    assert all(of_run.count(False) == unique for of_run in duplicates.values())
    u = tables.uploads.c
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.uploads)) == RUNS * unique
        rows = connection.execute(select(u.run_id, u.seq, u.late, u.processed))
        flags = {(row.run_id, row.seq): (row.late, row.processed) for row in rows}
        for run, order in orders.items():
            stored = select(func.sum(tables.segments.c.record_count)).where(tables.segments.c.run_id == run)
            assert connection.scalar(stored) == 2 * STEPS
            highest = 0
            for seq in dict.fromkeys(upload.seq for upload in order):
                is_late = seq < highest
                assert flags[run, seq] == (is_late, not is_late)
                highest = max(highest, seq)


def _check_alerts(database, orders, other):
    """Alerts are those of a server that got only what was not late, once, in order."""
    for run, order in orders.items():
        highest = 0
        for upload in order:
            if upload.seq > highest:
                highest = upload.seq
                send(other, upload)
        assert alerts_of(database, run) == alerts_of(other, run)
    other.close()
