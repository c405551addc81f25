"""The cost of reading a thousand points out of a million records, on SQLite and Postgres, against a pass over an array.

    python -m benchmarks.read.read_latency [--records 1000000] [--rounds 7] [--databases sqlite postgres]

Records are stored as ingest stores them and compacted by the server's own compaction, whose cost is printed. The
baseline is numpy's least and greatest value of a thousand buckets of one float64 array. Printed is the processor time
of this process and, on Postgres, of all its processes; rounds are interleaved, medians with the least and greatest
ratio. Not measured: HTTP, several readers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import sqlalchemy as sa

from benchmarks.common import postgres
from benchmarks.common.databases import add_option, fresh_database
from benchmarks.common.stats import median_range
from relumine.schemas.record import Record
from relumine.schemas.record_table import INTEGER_COLUMNS, SCALARS, RecordTable
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.detection import state
from relumine_server.ingest import detector_states
from relumine_server.ingest.service import IngestService
from relumine_server.runs.session_order import FIRST_NUMBER, session_key
from relumine_server.timeseries import codec, compaction, downsampling, segments
from relumine_server.timeseries import queries as series_queries

POINTS = 1_000
RECORDS_PER_UPLOAD = 1_024
REPEATS = 10
RUN = "r"
SESSION = "s"
STORED_SESSION = session_key(FIRST_NUMBER, SESSION)
LAYER_ID = 1
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAX_STEP = 2**53 - 1

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Meter: TypeAlias = Callable[[], float]
"""Return processor seconds so far."""


def fill(database: Database, values: Values) -> None:
    """Store the records of one layer in segments."""
    first = Record(layer_id=LAYER_ID, first_step=0, step=0, n_examples=8, active=[1])
    upload = Upload(
        run=RunInfo(id=RUN),
        session=SESSION,
        seq=1,
        layers=[LayerInfo(layer_id=LAYER_ID, name="fc", units=1)],
        records=[first],
    )
    database.write(lambda connection: IngestService("").ingest(connection, upload, NOW))
    seq = 1
    step = 1
    uploads = math.ceil(values.size / RECORDS_PER_UPLOAD)
    for part in np.array_split(values, uploads):
        seq += 1
        _store(database, step, part, seq)
        step += part.size
    progress = sa.update(tables.runs).values(uncompacted_records=values.size)
    database.write(lambda connection: connection.execute(progress))
    empty = state.empty()
    database.write(lambda connection: detector_states.save(connection, RUN, (STORED_SESSION, seq), empty, NOW))


def _store(database: Database, first_step: int, values: Values, seq: int) -> None:
    """Store one upload's segment as ingest would."""
    n = values.size
    steps = np.arange(first_step, first_step + n)
    integers = {"layer_id": LAYER_ID, "first_step": steps, "step": steps, "marks": 0, "nonfinite": 0}
    integers |= {"sampled_steps": 1, "n_examples": 64, "n_positions": 64}
    reals = {"weight_norm": values, "learning_rate": 0.1, "update_norm": values / 100, "grad_norm": values / 10}
    scalars: dict[str, Any] = {}
    for name in SCALARS:
        if name in INTEGER_COLUMNS:
            scalars[name] = np.broadcast_to(np.asarray(integers[name], np.int64), n).copy()
        else:
            scalars[name] = np.broadcast_to(np.asarray(reals.get(name, np.nan), np.float64), n).copy()
    no_units = np.zeros(n, np.int64)
    (segment,) = codec.encode(RecordTable(scalars, no_units, no_units, {}, (None,) * n), [])
    readings = np.random.default_rng(seq).random((len(codec.READINGS), n)).astype("<f4").tobytes()
    with_readings = segment._replace(readings=readings)
    database.write(lambda connection: segments.insert(connection, (RUN, STORED_SESSION, 0, seq), [with_readings]))


def compact(database: Database, meter: Meter) -> float:
    """Compact all records; return the processor seconds."""
    start = meter()
    while database.write(lambda connection: compaction.compact(connection, RUN)):
        pass
    return meter() - start


def read(database: Database, names: list[str], steps: tuple[int, int] = (0, MAX_STEP)) -> None:
    """Do the work of ``GET …/series`` up to the JSON."""
    with database.read() as connection:
        extremes = series_queries.read_extremes(connection, RUN, [LAYER_ID], names, steps=steps, points=POINTS)
    downsampling.downsample(extremes[LAYER_ID], POINTS)


def bucket_extremes(values: Values) -> None:
    """Compute the least and greatest value of each bucket: the baseline."""
    starts = np.arange(POINTS) * values.size // POINTS
    np.minimum.reduceat(values, starts)
    np.maximum.reduceat(values, starts)


def cpu_ms(meter: Meter, work: Callable[[], None]) -> float:
    """Return milliseconds of processor for one call of several."""
    start = meter()
    for _ in range(REPEATS):
        work()
    return (meter() - start) / REPEATS * 1e3


def measure(name: str, database: Database, values: Values, meter: Meter, rounds: int) -> None:
    """Fill one database and print its table."""
    fill(database, values)
    compaction_s = compact(database, meter)
    print(f"{name}: compaction of {values.size:,} records: {compaction_s:.2f} s, ", end="")
    print(f"{compaction_s / values.size * 1e6:.2f} µs a record")
    middle = (values.size // 2, values.size // 2 + 9_999)
    four = ["weight_norm", "active_rate", "dead_fraction", "dying_fraction"]
    reads: dict[str, Callable[[], None]] = {
        f"{POINTS:,} of {values.size:,}, one statistic": lambda: read(database, ["weight_norm"]),
        f"{POINTS:,} of {values.size:,}, four statistics": lambda: read(database, four),
        "10,000 records in the middle, one statistic": lambda: read(database, ["weight_norm"], middle),
    }
    costs: dict[str, list[float]] = {title: [] for title in reads}
    relative: dict[str, list[float]] = {title: [] for title in reads}
    for _ in range(rounds):
        for title, work in reads.items():
            baseline_ms = cpu_ms(time.process_time, lambda: bucket_extremes(values))
            read_ms = cpu_ms(meter, work)
            costs[title].append(read_ms)
            relative[title].append(read_ms / baseline_ms)
    for title in reads:
        print(f"  {title:<44} {statistics.median(costs[title]):8.2f} ms", end="")
        print(f"  {median_range(relative[title], 1)} × baseline")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=7)
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both databases."""
    options = parser().parse_args(arguments)
    values = np.random.default_rng(0).standard_normal(options.records).cumsum()
    for kind in options.databases:
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres.running()) if kind == "postgres" else None
            url = stack.enter_context(fresh_database(cluster))
            database = Database.open(url)
            stack.callback(database.close)
            migrations.upgrade(database.writing_engine)
            meter = time.process_time if cluster is None else _with_postgres(cluster)
            measure(kind, database, values, meter, options.rounds)


def _with_postgres(cluster: postgres.Cluster) -> Meter:
    return lambda: time.process_time() + cluster.cpu_s()


if __name__ == "__main__":
    main()
