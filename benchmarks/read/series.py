"""A thousand points out of a million records, on SQLite and on Postgres, against a pass over an array in memory.

    python benchmarks/read/series.py [--records 1000000] [--rounds 7]

Records are stored as ingest stores them and compacted by the server's own compaction, whose cost is printed. The floor
is numpy's least and greatest of a thousand buckets of one float64 array. Processor time of this process and, on
Postgres, of all its processes; rounds are interleaved, medians with the least and greatest ratio. Not measured: HTTP,
several readers at once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import running

from relumine.table import SCALARS, WHOLE, RecordTable
from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.api import downsample
from relumine_server.detection import state as detector
from relumine_server.ingest import Ingest
from relumine_server.storage import compaction, encoding, migrate, segments, series, states
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

POINTS, PER_UPLOAD, REPEATS = 1_000, 1_024, 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)
END = 2**53 - 1

Meter = Callable[[], float]


def fill(store: Store, values: np.ndarray) -> int:
    """Store the records of one layer in segments; the number of uploads."""
    layers = [LayerInfo(layer_id=1, name="fc", units=1)]
    first = Record(layer_id=1, first_step=0, step=0, n_examples=8, active=[1])
    upload = Upload(run=RunInfo(id="r"), session="s", seq=1, layers=layers, records=[first])
    store.write(lambda c: Ingest("").take(c, upload, NOW))
    parts = np.array_split(values, -(-values.size // PER_UPLOAD))
    step = 1
    for seq, part in enumerate(parts, start=2):
        store.write(lambda c, step=step, part=part, seq=seq: insert(c, step, part, seq))
        step += part.size
    store.write(lambda c: states.save(c, "r", "s", len(parts) + 1, detector.empty(), NOW))
    store.write(lambda c: c.execute(sa.update(t.runs).values(loose_records=values.size)))
    return len(parts)


def insert(connection: sa.Connection, first: int, values: np.ndarray, seq: int) -> None:
    """One upload's segment, as ingest would write it."""
    n = values.size
    whole = {
        "layer_id": 1,
        "first_step": np.arange(first, first + n),
        "sampled_steps": 1,
        "n_examples": 64,
        "nonfinite": 0,
    }
    whole |= {"step": whole["first_step"], "n_positions": 64, "marks": 0}
    real = {"weight_norm": values, "learning_rate": 0.1, "update_norm": values / 100, "grad_norm": values / 10}
    scalars = {
        name: np.broadcast_to(np.asarray(whole[name], np.int64), n).copy()
        if name in WHOLE
        else np.broadcast_to(np.asarray(real.get(name, np.nan), np.float64), n).copy()
        for name in SCALARS
    }
    nothing = np.zeros(n, np.int64)
    (segment,) = encoding.encode(RecordTable(scalars, nothing, nothing, {}, (None,) * n), [])
    readings = np.random.default_rng(seq).random((len(encoding.READINGS), n)).astype("<f4").tobytes()
    segments.insert(connection, ("r", "s", 0, seq), [segment._replace(readings=readings)])


def compact(store: Store, meter: Meter) -> float:
    """Compact all of it; the processor time it took."""
    before = meter()
    while store.write(lambda c: compaction.compact(c, "r")):
        pass
    return meter() - before


def read(store: Store, names: list[str], steps: tuple[int, int] = (0, END)) -> None:
    """What the route of a series does before it writes JSON."""
    with store.read() as connection:
        found = series.spread(connection, "r", [1], names, steps=steps, points=POINTS)[1]
    downsample.reduced(found, POINTS)


def floor(values: np.ndarray) -> None:
    """Least and greatest of each bucket."""
    starts = np.arange(POINTS) * values.size // POINTS
    np.minimum.reduceat(values, starts)
    np.maximum.reduceat(values, starts)


def took(meter: Meter, work: Callable[[], None]) -> float:
    """Milliseconds of processor for one time, of several."""
    before = meter()
    for _ in range(REPEATS):
        work()
    return (meter() - before) / REPEATS * 1e3


def measure(name: str, store: Store, values: np.ndarray, meter: Meter, rounds: int) -> None:
    """One table for one database."""
    fill(store, values)
    cost = compact(store, meter)
    print(f"{name}: compaction of {values.size:,} records: {cost:.2f} s, {cost / values.size * 1e6:.2f} µs a record")
    middle = (values.size // 2, values.size // 2 + 9_999)
    works: dict[str, Callable[[], None]] = {
        f"{POINTS:,} of {values.size:,}, one statistic": lambda: read(store, ["weight_norm"]),
        f"{POINTS:,} of {values.size:,}, four statistics": lambda: read(
            store, ["weight_norm", "active_rate", "dead_fraction", "dying_fraction"]
        ),
        "10,000 records in the middle, one statistic": lambda: read(store, ["weight_norm"], middle),
    }
    found: dict[str, list[tuple[float, float]]] = {work: [] for work in works}
    for _ in range(rounds):
        for work, run in works.items():
            least = took(time.process_time, lambda: floor(values))
            found[work].append((took(meter, run), least))
    for work, pairs in found.items():
        ratios = sorted(mine / least for mine, least in pairs)
        ms = statistics.median(mine for mine, _ in pairs)
        least, middle, most = ratios[0], statistics.median(ratios), ratios[-1]
        print(f"  {work:<44} {ms:8.2f} ms  {middle:6.1f} × floor  ({least:.1f} – {most:.1f})")


def main() -> None:
    """Both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    values = np.random.default_rng(0).standard_normal(options.records).cumsum()
    with tempfile.TemporaryDirectory() as folder:
        store = opened(f"sqlite:///{folder}/x.db")
        measure("SQLite", store, values, time.process_time, options.rounds)
        store.close()
    with running() as cluster:
        store = opened(cluster.new_database())
        measure("Postgres", store, values, lambda: time.process_time() + cluster.cpu_s(), options.rounds)
        store.close()


def opened(url: str) -> Store:
    """A migrated store."""
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    return store


if __name__ == "__main__":
    main()
