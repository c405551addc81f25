"""The cost of the overview of a run with ten thousand layers, on SQLite and Postgres: what the page asks for first.

    python -m benchmarks.read.overview [--layers 10000] [--steps 8] [--rounds 5] [--databases sqlite postgres]

Uploads are ingested as they arrive; a part of the layers is dead, so that the most alerts that an overview holds are
open. Each request goes through the whole application, in process. The server keeps whole overviews in memory, so a
first reading is measured and the ones after it. Printed is the processor time of this process and, on Postgres, of all
its processes: the median of the rounds, and the greatest. Not measured: the network, the page.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

import httpx
import numpy as np
import sqlalchemy as sa
from fastapi import FastAPI

from benchmarks.common import postgres
from benchmarks.common.databases import add_option, fresh_database
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server import log_config
from relumine_server.app import create_app
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.ingest.service import IngestService
from relumine_server.server.run import tune_interpreter
from relumine_server.settings import Settings
from relumine_server.timeseries import compaction

RUN = "r"
UNITS = 4
EXAMPLES = 64
DEAD_SHARE = 0.02
DIES_AT = 4
PROMISED_S = 1.0

Meter: TypeAlias = Callable[[], float]
"""Return processor seconds so far."""


def records(layers: int, step: int, chance: np.random.Generator) -> RecordTable:
    """Return the records of one step: the run's, and one of each layer."""
    dead = set(range(1, int(layers * DEAD_SHARE) + 1)) if step >= DIES_AT else set()
    scalars = [{"layer_id": 0, "first_step": step, "step": step, "n_examples": EXAMPLES, "loss": 1.0 / step}]
    columns: list[dict[str, np.ndarray]] = [{}]
    for layer_id in range(1, layers + 1):
        scalars.append({"layer_id": layer_id, "first_step": step, "step": step, "n_examples": EXAMPLES})
        active = chance.binomial(EXAMPLES, 0.4, UNITS) * (layer_id not in dead)
        silent = np.full(UNITS, EXAMPLES * (step - DIES_AT + 1)) if layer_id in dead else np.zeros(UNITS, np.int64)
        columns.append({"active": active.astype(np.uint32), "silent": silent.astype(np.uint32)})
    return RecordTable.from_values(scalars, columns)


def fill(database: Database, layers: int, steps: int) -> None:
    """Ingest one upload per step; what is stored is compacted as far as maintenance would."""
    ingest = IngestService("")
    chance = np.random.default_rng(0)
    described = [
        LayerInfo(layer_id=number, name=f"encoder.layer.{number}", units=UNITS) for number in range(1, layers + 1)
    ]
    for step in range(1, steps + 1):
        upload = Upload(
            run=RunInfo(id=RUN),
            session="s",
            seq=step,
            layers=described if step == 1 else [],
            records=records(layers, step, chance),
        )
        database.write(partial(_ingest, ingest, upload))
    while database.write(lambda connection: compaction.compact(connection, RUN)):
        pass


def _ingest(ingest: IngestService, upload: Upload, connection: sa.Connection) -> None:
    ingest.ingest(connection, upload, datetime.now(UTC))


def get(app: FastAPI, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send one request through the application."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(request())


def measure(name: str, database: Database, url: str, meter: Meter, options: argparse.Namespace) -> bool:
    """Fill one database and print its costs; return whether the whole overview is as cheap as promised."""
    fill(database, options.layers, options.steps)
    path = f"/v1/runs/{RUN}/overview"
    settings = Settings(database_url=url, dispatcher=False)
    app = create_app(settings, database=database)
    etag = get(app, path).headers["etag"]
    requests = {
        "whole": (path, {}),
        "whole, again": (path, {}),
        "since the last step": (f"{path}?after_step={options.steps - 1}", {}),
        "unchanged": (path, {"if-none-match": etag}),
    }
    worst_s = {}
    for title, (address, headers) in requests.items():
        costs = []
        for _ in range(options.rounds):
            if title == "whole":
                app = create_app(settings, database=database)  # which has kept no overview
            start = meter()
            response = get(app, address, headers)
            costs.append(meter() - start)
        worst_s[title] = max(costs)
        median_s = statistics.median(costs)
        print(f"{name}: {title:<20} {response.status_code} {len(response.content):>10,} bytes", end="")
        print(f"  {median_s:6.3f} s, at most {worst_s[title]:.3f} s (promised for 10,000 layers: {PROMISED_S:g} s)")
    return worst_s["whole"] <= PROMISED_S


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--layers", type=int, default=10_000)
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--rounds", type=int, default=5)
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both databases; return 1 where the promise does not hold."""
    options = parser().parse_args(arguments)
    tune_interpreter()
    log_config.to_stderr("WARNING")
    holds = []
    for kind in options.databases:
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres.running()) if kind == "postgres" else None
            url = stack.enter_context(fresh_database(cluster))
            database = Database.open(url)
            stack.callback(database.close)
            migrations.upgrade(database.writing_engine)
            meter = time.process_time if cluster is None else _with_postgres(cluster)
            holds.append(measure(kind, database, url, meter, options))
    return 0 if all(holds) else 1


def _with_postgres(cluster: postgres.Cluster) -> Meter:
    return lambda: time.process_time() + cluster.cpu_s()


if __name__ == "__main__":
    raise SystemExit(main())
