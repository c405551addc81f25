"""Processor time of a server per upload under eight clients on SQLite, beside that of another checkout in turn.

    python -m benchmarks.ingest.upload_cost [--rounds 3] [--seconds 4] [--shapes tiny small resnet50] [--beside FOLDER]

The other checkout must take the same uploads. Each window has a fresh server on a fresh file, warmed up. "alone" is
the same work in this process without HTTP, in transactions of eight, split into decoding, the detector and the rest.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.checkouts import add_option, checkouts, environment
from benchmarks.common.databases import fresh_database
from benchmarks.common.server_process import WITHOUT_MAINTENANCE, Server, free_port, running
from benchmarks.common.stats import alternating, median_range
from benchmarks.ingest.load_generator import Target, generator
from benchmarks.ingest.upload_shapes import RESNET50, SMALL, THOUSAND, Shape, UploadBodies, decode
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.detection import detector
from relumine_server.ingest.service import IngestService

SHAPES: Mapping[str, Shape] = {"tiny": THOUSAND, "small": SMALL, "resnet50": RESNET50}
CLIENTS = 8
WARM_UP_UPLOADS = 8
PATH = "/v1/uploads"


@contextmanager
def server(checkout: Path, folder: Path, module: Sequence[str] = ("relumine_server", "serve")) -> Iterator[Server]:
    """Run the server of a checkout on a fresh file."""
    port = free_port()
    with fresh_database(None) as url:
        variables = {name: value for name, value in environment(checkout).items() if not name.startswith("RELUMINE_")}
        for name, value in {**WITHOUT_MAINTENANCE, "DATABASE_URL": url, "PORT": str(port)}.items():
            variables[f"RELUMINE_{name}"] = value
        command = [sys.executable, "-m", *module]
        with running(command, port=port, ready_path="/readyz", environment=variables, folder=folder) as process:
            yield process


def drive(process: Server, bodies: UploadBodies, seconds: float) -> float:
    """Send uploads for so long; return the milliseconds of the server's processor per upload."""
    target = Target([process.port], PATH, 202)
    load = generator(
        target,
        CLIENTS,
        lambda index: WARM_UP_UPLOADS + index,
        lambda connection, number: bodies.parts(f"run{connection}", number),
    )
    with load as ready:
        start_s = process.cpu_s()
        result = ready.run(seconds)
        return 1e3 * (process.cpu_s() - start_s) / result.requests


class Timed:
    """Counts the processor time of the calls of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        start = time.process_time()
        try:
            return self.function(*arguments)
        finally:
            self.seconds += time.process_time() - start


def alone(bodies: UploadBodies, rounds: int) -> str:
    """Return the milliseconds per upload without HTTP, as text: decoding, the detector, everything else."""
    decoding = Timed(decode)
    detecting = Timed(detector.advance)
    now = datetime.now(UTC)
    with fresh_database(None) as url:
        database = Database.open(url)
        migrations.upgrade(database.writing_engine)
        ingest = IngestService("", advance=detecting)
        start = 0.0
        for number in range(WARM_UP_UPLOADS + rounds):
            if number == WARM_UP_UPLOADS:
                decoding.seconds = 0.0
                detecting.seconds = 0.0
                start = time.process_time()
            with database.writing_engine.begin() as connection:
                for client in range(CLIENTS):
                    now += timedelta(milliseconds=100)
                    body = bodies.body(f"run{client}", number)
                    ingest.decode_and_ingest(connection, partial(decoding, body), now)
        total = time.process_time() - start
        database.close()
    uploads = rounds * CLIENTS
    parts = (decoding.seconds, detecting.seconds, total - decoding.seconds - detecting.seconds)
    texts = (f"{1e3 * part / uploads:.2f}" for part in (total, *parts))
    return "{} ms: decoding {}, detector {}, the rest {}".format(*texts)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    folders = checkouts(options.beside)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    all_bodies = {shape: UploadBodies(SHAPES[shape]) for shape in options.shapes}
    arms = [(shape, checkout) for shape in options.shapes for checkout in folders]
    with tempfile.TemporaryDirectory() as folder:
        for _round, (shape, checkout) in alternating(arms, options.rounds):
            with server(folders[checkout], Path(folder)) as process:
                costs[shape, checkout].append(drive(process, all_bodies[shape], options.seconds))
    for shape in options.shapes:
        print(f"{SHAPES[shape].name}, {CLIENTS} clients, milliseconds of the server's processor per upload")
        for checkout in folders:
            print(f"  {checkout:<10} {median_range(costs[shape, checkout])}")
        if options.beside is not None:
            ratio = statistics.median(costs[shape, "this"]) / statistics.median(costs[shape, "the other"])
            print(f"  {'ratio':<10} {ratio:.2f}")
        print(f"  {'alone':<10} {alone(all_bodies[shape], max(2, int(options.seconds)))}")


if __name__ == "__main__":
    main()
