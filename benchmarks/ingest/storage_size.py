"""The bytes that stored records take on disk, against the bytes of their numbers; and the cost of compaction.

    pip install -e '.[server,postgres,dev]'
    python -m benchmarks.ingest.storage_size [--uploads 2500] [--databases sqlite postgres] [--sizes big small]

One run, written by the server's own code in process, then finished and compacted to the end. Numbers are counted once:
each measured value of a record as 8 bytes, each reading of the detector as 4, unit columns in the dtypes in which they
came. Columns of the table:

- file: the size after a checkpoint;
- packed: the size after VACUUM (on Postgres VACUUM FULL, and the measurement goes on from there);
- series: the size without unit statistics, against the numbers without unit columns.

Compaction leaves out values that repeat a thousand times, so a ratio may be below 1. The cost of compaction is
processor time per layer record.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from benchmarks.common import postgres
from benchmarks.common.databases import add_option, fresh_database
from benchmarks.ingest.upload_shapes import BIG, SMALL, Shape, UploadBodies, count_measured, decode
from relumine.schemas.record_table import RecordTable
from relumine_server.db import migrations, tables
from relumine_server.db import types as db_types
from relumine_server.db.database import Database
from relumine_server.ingest.service import IngestService
from relumine_server.timeseries import codec, compaction

SIZES = {"big": BIG, "small": SMALL}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "01a20b81-38ca-7334-a5e3-6dde6fe84099"


class RawBytes(NamedTuple):
    """Bytes of the numbers: of series (scalars, learning rates, readings) and of unit columns."""

    series: int
    units: int


class Sizes(NamedTuple):
    """Bytes of a database: as it is, packed, and packed without unit statistics."""

    file: int
    packed: int
    series: int


def raw_bytes(records: RecordTable) -> RawBytes:
    """Return the bytes of the numbers in an upload's records."""
    scalars = sum(count_measured(name, records.scalars[name]) for name in codec.SCALARS)
    rates = sum(len(group or ()) for group in records.learning_rates)
    readings = int(np.count_nonzero(records.scalars["layer_id"])) * len(codec.READINGS)
    units = sum(column.nbytes for column in records.columns.values())
    return RawBytes(8 * (scalars + rates) + 4 * readings, units)


def fill(database: Database, shape: Shape, uploads: int) -> RawBytes:
    """Store a finished run; return the bytes of its numbers."""
    bodies = UploadBodies(shape)
    ingest = IngestService("")
    series = 0
    units = 0
    for number in range(uploads):
        upload = decode(bodies.body(RUN, number))
        upload.final_status = "finished" if number == uploads - 1 else None
        raw = raw_bytes(upload.records)
        series += raw.series
        units += raw.units
        database.write(partial(ingest.ingest, upload=upload, now=NOW))
    return RawBytes(series, units)


def compact(database: Database) -> None:
    """Compact the whole run, a bounded batch per transaction, as maintenance does."""
    while database.write(partial(compaction.compact, run_id=RUN)):
        pass


def sqlite_sizes(url: str) -> Sizes:
    """Return the sizes of a database that is not open."""
    file = Path(str(sa.make_url(url).database))
    copy = file.with_name("packed.db")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM INTO ?", (str(copy),))
    packed = copy.stat().st_size
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(f"DELETE FROM {tables.unit_stats.name}")  # noqa: S608 - our own table
        connection.execute("VACUUM")
    series = copy.stat().st_size
    copy.unlink()
    return Sizes(file.stat().st_size, packed, series)


def postgres_sizes(url: str) -> Sizes:
    """Return the sizes of all tables with indexes and out-of-line storage; VACUUM FULL packs them."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    query = sa.text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    with engine.connect() as connection:

        def size(*excluded: str) -> int:
            names = [name for name in db_types.metadata.tables if name not in excluded]
            return sum(connection.scalar(query, {"name": name}) or 0 for name in names)

        unpacked = size()
        connection.execute(sa.text("VACUUM FULL"))
        return Sizes(unpacked, size(), size(tables.unit_stats.name))


@contextlib.contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open the server's database; close it afterwards."""
    database = Database.open(url)
    try:
        yield database
    finally:
        database.close()


def measure(kind: str, size: str, uploads: int, cluster: postgres.Cluster | None) -> None:
    """Print two rows: before and after compaction."""
    shape = SIZES[size]
    uploads = max(2, uploads // shape.steps)
    sizes_of = sqlite_sizes if cluster is None else postgres_sizes
    with fresh_database(cluster) as url:
        with opened(url) as database:
            migrations.upgrade(database.writing_engine)
            raw = fill(database, shape, uploads)
        print_row(f"{kind} {size}", raw, sizes_of(url))

        postgres_at_start = 0.0 if cluster is None else cluster.cpu_s()
        start = time.process_time()
        with opened(url) as database:
            compact(database)
            server_s = time.process_time() - start
            postgres_s = 0.0 if cluster is None else cluster.cpu_s() - postgres_at_start
        us_per_record = 1e6 / (uploads * shape.records)
        note = f"{server_s * us_per_record:.1f} µs"
        if cluster is not None:
            note += f" + {postgres_s * us_per_record:.1f} µs in Postgres"
        print_row("  compacted", raw, sizes_of(url), note)


def print_row(title: str, raw: RawBytes, sizes: Sizes, note: str = "") -> None:
    """Print the sizes in megabytes and as ratios."""
    total = sum(raw)
    print(f"{title:<20} {total / 1e6:>9.1f} {sizes.file / total:>7.3f} {sizes.packed / total:>7.3f} ", end="")
    print(f"{raw.series / 1e6:>9.2f} {sizes.series / raw.series:>7.3f}  {note}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_uploads = "uploads of one sampled step; of ten sampled steps a tenth as many"
    options.add_argument("--uploads", type=int, default=2500, help=help_uploads)
    options.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, compact, measure."""
    options = parser().parse_args(arguments)
    print(f"{'':<20} {'MB raw':>9} {'file':>7} {'packed':>7} {'series MB':>9} {'packed':>7}  compaction")
    for kind in options.databases:
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres.running()) if kind == "postgres" else None
            for size in options.sizes:
                measure(kind, size, options.uploads, cluster)


if __name__ == "__main__":
    main()
