"""What stored records take on the disk, against the bytes of their numbers; and what compaction costs.

    pip install -e '.[server,postgres,dev]'
    python benchmarks/ingest/disk.py [--uploads 2500] [--only sqlite,postgres] [--sizes big,small]

One run, written by the server's own code in process, then ended and compacted to the end. Numbers are counted once:
what was measured of a record (8 bytes each, 4 those of the detector), unit columns in the dtypes in which they came.
"file" is what lies there after a checkpoint, "packed" what is left of it after VACUUM (on Postgres FULL, and it goes on
from there), "series" the same without unit rows against the numbers without unit columns. Compaction leaves out numbers
that are the same a thousand times over, so a ratio may be below 1. Processor time of compaction is per layer-record.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from shapes import BIG, SMALL, Bodies, Shape, measured

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import postgres

from relumine.table import RecordTable
from relumine_server.api.uploads import decode
from relumine_server.ingest import Ingest
from relumine_server.storage import compaction, encoding, migrate
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

SIZES = {"big": BIG, "small": SMALL}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "01a20b81-38ca-7334-a5e3-6dde6fe84099"


class Raw(NamedTuple):
    """Bytes of numbers: of series (scalars, rates, readings) and of unit columns."""

    series: int
    units: int


class Sizes(NamedTuple):
    """Bytes of a database: as it lies there, packed, and packed without unit rows."""

    file: int
    packed: int
    series: int


def raw_bytes(records: RecordTable) -> Raw:
    """Bytes of what an upload's records say."""
    scalars = sum(measured(name, records.scalars[name]) for name in encoding.SCALARS)
    rates = sum(len(own or ()) for own in records.learning_rates)
    readings = int(np.count_nonzero(records.scalars["layer_id"])) * len(encoding.READINGS)
    return Raw(8 * (scalars + rates) + 4 * readings, sum(column.nbytes for column in records.columns.values()))


def fill(store: Store, shape: Shape, uploads: int) -> Raw:
    """Write a run and end it; the bytes of its numbers."""
    bodies, ingest, series, units = Bodies(shape), Ingest(""), 0, 0
    for number in range(uploads):
        upload = decode(bodies.body(RUN, number))
        upload.closing = "finished" if number == uploads - 1 else None
        more = raw_bytes(upload.records)
        series, units = series + more.series, units + more.units
        store.write(partial(ingest.take, upload=upload, now=NOW))
    return Raw(series, units)


def compact(store: Store) -> None:
    """All of it, a bounded piece per transaction as the caretaker does."""
    while store.write(partial(compaction.compact, run_id=RUN)):
        pass


def sqlite_sizes(url: str) -> Sizes:
    """Of a database that nobody has open."""
    file = Path(str(sa.make_url(url).database))
    copy = file.with_name("packed.db")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as live:
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        live.execute("VACUUM INTO ?", (str(copy),))
    packed = copy.stat().st_size
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as bare:
        bare.execute("DELETE FROM unit_rows")
        bare.execute("VACUUM")
    series = copy.stat().st_size
    copy.unlink()
    return Sizes(file.stat().st_size, packed, series)


def postgres_sizes(url: str) -> Sizes:
    """Of all tables with their indexes and what is stored out of line; packs them."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    query = sa.text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    with engine.connect() as connection:

        def size(*left_out: str) -> int:
            names = [name for name in t.metadata.tables if name not in left_out]
            return sum(connection.scalar(query, {"name": name}) or 0 for name in names)

        lies = size()
        connection.execute(sa.text("VACUUM FULL"))
        return Sizes(lies, size(), size("unit_rows"))


@contextlib.contextmanager
def database(cluster: postgres.Cluster | None) -> Iterator[str]:
    """An empty database with the server's schema."""
    with tempfile.TemporaryDirectory(prefix="relumine-bench-") as folder:
        url = cluster.new_database() if cluster is not None else f"sqlite:///{folder}/relumine.db"
        with opened(url) as store:
            migrate.upgrade(store.writing_engine)
        yield url
        if cluster is not None:
            cluster.drop(url)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Store]:
    """The server's store, closed afterwards."""
    store = Store.open(url)
    try:
        yield store
    finally:
        store.close()


def measure(kind: str, size: str, uploads: int, cluster: postgres.Cluster | None) -> None:
    """Print two rows: before and after compaction."""
    shape = SIZES[size]
    uploads = max(2, uploads // shape.steps)
    sizes = sqlite_sizes if cluster is None else postgres_sizes
    with database(cluster) as url:
        with opened(url) as store:
            raw = fill(store, shape, uploads)
        show(f"{kind} {size}", raw, sizes(url))
        with opened(url) as store:
            own, behind = time.process_time(), cluster.cpu_s() if cluster else 0.0
            compact(store)
            own, behind = time.process_time() - own, (cluster.cpu_s() if cluster else 0.0) - behind
        per_record = 1e6 / (uploads * shape.records)
        note = f"{own * per_record:.1f} µs" + (f" + {behind * per_record:.1f} µs in Postgres" if cluster else "")
        show("  compacted", raw, sizes(url), note)


def show(title: str, raw: Raw, sizes: Sizes, note: str = "") -> None:
    """One row."""
    whole = sum(raw)
    print(f"{title:<20} {whole / 1e6:>9.1f} {sizes.file / whole:>7.3f} {sizes.packed / whole:>7.3f} ", end="")
    print(f"{raw.series / 1e6:>9.2f} {sizes.series / raw.series:>7.3f}  {note}")


def main() -> None:
    """Fill, measure, compact, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=2500, help="of one sampled step each; of ten a tenth as many")
    parser.add_argument("--only", default="sqlite,postgres")
    parser.add_argument("--sizes", default=",".join(SIZES))
    options = parser.parse_args()
    print(f"{'':<20} {'MB raw':>9} {'file':>7} {'packed':>7} {'series MB':>9} {'packed':>7}  compaction")
    for kind in options.only.split(","):
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres.running()) if kind == "postgres" else None
            for size in options.sizes.split(","):
                measure(kind, size, options.uploads, cluster)


if __name__ == "__main__":
    main()
