"""The cost of saving the detector's state: uploads of a ResNet-50 (49 layers, 22,720 units), in process, one run.

    pip install -e '.[server,postgres,dev]'
    python -m benchmarks.ingest.detector_state [--rounds 5] [--uploads 48] [--databases sqlite postgres]

The server's own code without HTTP, with the state saved at every upload, at every eighth (the server's setting), and
never; rounds in alternating order, a fresh database each. Printed are milliseconds of processor per upload, of this
process and of Postgres, bytes of a state, and the time to process a lost tail of seven uploads again after a restart.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from benchmarks.common import postgres
from benchmarks.common.databases import KINDS, add_option, fresh_database
from benchmarks.common.stats import alternating, median_range
from benchmarks.ingest.upload_shapes import RESNET50, UploadBodies, decode
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.detection import state
from relumine_server.detection.policy import Policy
from relumine_server.ingest import analysis, detector_states
from relumine_server.ingest import service as ingest_service
from relumine_server.runs.session_order import FIRST_NUMBER, session_key

NEVER = 10**9
SAVE_EVERY = (1, analysis.SAVE_EVERY, NEVER)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAIL = 7


class Cost(NamedTuple):
    """Milliseconds of processor per upload and to process the tail again; bytes of the state."""

    server_ms: float
    postgres_ms: float
    tail_ms: float
    state_size: int


def measure(bodies: UploadBodies, url: str, uploads: int, cluster: postgres.Cluster | None) -> Cost:
    """Ingest uploads into a fresh database."""
    decoded = [decode(bodies.body("r", number)) for number in range(uploads + 1)]
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    ingest = ingest_service.IngestService("")
    database.write(partial(ingest.ingest, upload=decoded[0], now=NOW))

    postgres_at_start = 0.0 if cluster is None else cluster.cpu_s()
    start = time.process_time()
    for upload in decoded[1:]:
        database.write(partial(ingest.ingest, upload=upload, now=NOW))
    server_s = time.process_time() - start
    postgres_s = 0.0 if cluster is None else cluster.cpu_s() - postgres_at_start

    with database.read() as connection:
        start = time.process_time()
        session = session_key(FIRST_NUMBER, decoded[0].session)
        checkpoint = detector_states.load(connection, "r", session, Policy())
        tail_s = (time.process_time() - start) / max(checkpoint.unsaved_uploads, 1) * TAIL
        state_size = len(state.to_bytes(checkpoint.state))
    database.close()
    return Cost(1e3 * server_s / uploads, 1e3 * postgres_s / uploads, 1e3 * tail_s, state_size)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--uploads", type=int, default=48)
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure round by round, then print the table."""
    options = parser().parse_args(arguments)
    bodies = UploadBodies(RESNET50)
    arms = [(kind, every) for kind in KINDS if kind in options.databases for every in SAVE_EVERY]
    costs: dict[tuple[str, int], list[Cost]] = {arm: [] for arm in arms}
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(postgres.running()) if "postgres" in options.databases else None
        for _, (kind, every) in alternating(arms, options.rounds):
            cluster_of_arm = cluster if kind == "postgres" else None
            analysis.SAVE_EVERY = every
            with fresh_database(cluster_of_arm) as url:
                costs[kind, every].append(measure(bodies, url, options.uploads, cluster_of_arm))
    print_table(costs)


def print_table(costs: dict[tuple[str, int], list[Cost]]) -> None:
    """Print a line per database and interval."""
    print(f"{'saved':<22}{'server ms an upload':>24}{'Postgres ms':>20}{'7 again, ms':>24}{'state kB':>10}")
    words = {1: "every upload", NEVER: "never"}
    for (kind, every), rounds in costs.items():
        name = f"{kind} {words.get(every, f'every {every}th upload')}"
        server, in_postgres, tail = (median_range(column, 1) for column in list(zip(*rounds, strict=True))[:3])
        print(f"{name:<22}{server:>24}{in_postgres:>20}{tail:>24}{rounds[0].state_size / 1e3:>10,.0f}")


if __name__ == "__main__":
    main()
