"""Uploads that come three times, in any order, from many runs at once: each is stored once, and told as if in order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import func, select

from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.ingest import Ingest
from relumine_server.storage import alerts, migrate
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

UNITS, N, LOOKS, RUNS = 24, 64, 40, 8
NOW = datetime(2026, 1, 1, tzinfo=UTC)
INGEST = Ingest("http://x")
LAYER = LayerInfo(layer_id=1, name="act1", units=UNITS)


def uploads(run: str, seed: int) -> list[Upload]:
    """Twenty uploads of two looks each; in the second half three quarters of the units fall silent."""
    rng = np.random.default_rng(seed)
    silent = np.zeros(UNITS, int)
    records = []
    for look in range(LOOKS):
        active = rng.binomial(N, 0.3, UNITS)
        if look > LOOKS // 2:
            active[: 3 * UNITS // 4] = 0
        silent = np.where(active > 0, 0, silent + N)
        step = 10 * look + 1
        columns = {"active": active.tolist(), "silent": silent.tolist()}
        records.append(Record(layer_id=0, first_step=step, step=step, n_examples=N, learning_rates=[0.1], loss=1.0))
        records.append(Record(layer_id=1, first_step=step, step=step, n_examples=N, n_positions=N, **columns))
    made = [records[at : at + 4] for at in range(0, len(records), 4)]
    return [
        Upload(run=RunInfo(id=run), session="s1", seq=seq, layers=[LAYER], records=part)
        for seq, part in enumerate(made, start=1)
    ]


def told(store: Store, run: str):
    with store.read() as connection:
        known = alerts.of_run(connection, run, "")
    found = [alert.model_dump(exclude={"id", "run_id", "run", "url", "message"}) for alert in known]
    return sorted(found, key=lambda alert: (alert["layer_id"], alert["kind"]))


def opened(url: str) -> Store:
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    return store


def send(store: Store, one: Upload):
    return store.write(lambda c: INGEST.take(c, one, NOW)).accepted


def test_each_is_stored_once_and_alerts_are_those_of_what_came_in_order(new_database):
    for kind in ("sqlite", "postgresql"):
        store = opened(new_database(kind))
        orders = {}
        for number in range(RUNS):
            thrice = uploads(f"r{number}", number) * 3
            random.Random(number).shuffle(thrice)  # noqa: S311 - an order, not a secret
            orders[f"r{number}"] = thrice

        def send_all(run, store=store, orders=orders):
            return [send(store, one).duplicate for one in orders[run]]

        with ThreadPoolExecutor(RUNS) as pool:
            answers = dict(zip(orders, pool.map(send_all, orders), strict=True))
        _check_stored(store, orders, answers)
        _check_alerts(store, orders, opened(new_database(kind)))
        store.close()


def _check_stored(store, orders, answers):
    unique = LOOKS // 2
    assert all(sum(not duplicate for duplicate in told) == unique for told in answers.values())
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.uploads)) == RUNS * unique
        rows = connection.execute(select(t.uploads.c.run_id, t.uploads.c.seq, t.uploads.c.late, t.uploads.c.folded))
        found = {(row.run_id, row.seq): (row.late, row.folded) for row in rows}
        for run, order in orders.items():
            stored = select(func.sum(t.segments.c.records)).where(t.segments.c.run_id == run)
            assert connection.scalar(stored) == 2 * LOOKS
            highest, seen = 0, set()
            for one in order:
                if one.seq in seen:
                    continue
                seen.add(one.seq)
                assert found[run, one.seq] == ((False, True) if one.seq > highest else (True, False))
                highest = max(highest, one.seq)


def _check_alerts(store, orders, other):
    """The same as a server that only ever saw what was not late, once, in order."""
    for run, order in orders.items():
        highest = 0
        for one in order:
            if one.seq > highest:
                highest = one.seq
                send(other, one)
        assert told(store, run) == told(other, run)
    other.close()
