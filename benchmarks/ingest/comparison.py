"""The cost of a number in other servers that store training metrics, against ours: MLflow and trackio.

    pip install -e '.[server,dev]'
    python -m benchmarks.ingest.comparison [--rounds 7] [--seconds 6] [--warm-up 10] [--env DIR] [--without-others]
                                           [--without-big]

Each takes the same numbers in one request, of one sampled step of ten layers of eight units: about a thousand, which is
the most that MLflow takes; ours also takes its big upload. Four connections, each with its own run; every server on
SQLite, started once; windows take turns. The result is processor time (user and system) per number.

The servers differ: ours detects dying units and answers once the data is on disk (synchronous=FULL); the others do
not analyze, and trackio answers earlier (synchronous=NORMAL). MLflow returns any number by its name, the others in
blocks. The other servers are installed from a package index into an environment in a temporary folder, or in
DIR, where it is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.common.server_process import relumine
from benchmarks.common.stats import alternating, median_range, ratios
from benchmarks.ingest.load_generator import Generator, Target, generator
from benchmarks.ingest.other_servers import SERVERS, TrackingServer, install, versions
from benchmarks.ingest.upload_shapes import BIG, THOUSAND, Shape, UploadBodies, count_values, record_table

CONNECTIONS = 4
OURS = "ours"
OURS_BIG = "ours, big upload"

StartServer: TypeAlias = Callable[[Path], contextlib.AbstractContextManager[TrackingServer]]
"""Start a server with its files in a folder."""


class Window(NamedTuple):
    """One measurement: microseconds of processor per number, numbers per second, latencies."""

    us: float
    numbers_per_s: float
    p50_ms: float
    p99_ms: float


@contextlib.contextmanager
def ours(shape: Shape, folder: Path) -> Iterator[TrackingServer]:
    """Run a Relumine server on SQLite."""
    bodies = UploadBodies(shape)
    with relumine(f"sqlite:///{folder}/relumine.db", folder) as server:
        target = Target([server.port], "/v1/uploads", 202)
        values = count_values(record_table(shape))
        yield TrackingServer(server, target, lambda index, number: bodies.parts(f"run{index}", number), values)


def start(
    stack: contextlib.ExitStack, environment: Path | None, warm_up: int, *, with_big: bool
) -> dict[str, tuple[TrackingServer, Generator]]:
    """Start all servers, each with a warmed-up generator; leave out those that fail to start, with a message."""
    starters: dict[str, StartServer] = {OURS: partial(ours, THOUSAND)}
    if with_big:
        starters[OURS_BIG] = partial(ours, BIG)
    if environment is not None:
        for name, run in SERVERS.items():
            starters[name] = partial(run, environment, THOUSAND, CONNECTIONS)
    started: dict[str, tuple[TrackingServer, Generator]] = {}
    for name, starter in starters.items():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-bench-")))
        try:
            server = stack.enter_context(starter(folder))
            load = generator(server.target, CONNECTIONS, lambda index: warm_up + index, server.body)
            started[name] = server, stack.enter_context(load)
        except (RuntimeError, OSError) as error:
            print(f"{name} is left out: {error}")
    return started


def measure(server: TrackingServer, load: Generator, seconds: float) -> Window:
    """Measure one window."""
    cpu_at_start = server.process.cpu_s()
    result = load.run(seconds)
    numbers = result.requests * server.values
    cpu_us = 1e6 * (server.process.cpu_s() - cpu_at_start)
    return Window(cpu_us / numbers, numbers / result.wall_s, result.p50_ms, result.p99_ms)


def print_table(windows: dict[str, list[Window]], values: dict[str, int]) -> None:
    """Print a row per server; ``values`` is how many numbers its request carries."""
    print(f"{'':<18} {'numbers':>8} {'µs of processor a number':>26} {'x ours':>24} {'x our big upload':>26} ", end="")
    print(f"{'numbers/s':>12} p50/p99 ms")
    ours_us = [window.us for window in windows[OURS]]
    ours_big_us = [window.us for window in windows.get(OURS_BIG, [])]
    for name, rounds in windows.items():
        costs = [window.us for window in rounds]
        rate = statistics.median(window.numbers_per_s for window in rounds)
        p50 = statistics.median(window.p50_ms for window in rounds)
        p99 = statistics.median(window.p99_ms for window in rounds)
        print(f"{name:<18} {values[name]:>8,} {median_range(costs, 3):>26} ", end="")
        by_big = median_range(ratios(costs, ours_big_us)) if ours_big_us else "–"
        print(f"{median_range(ratios(costs, ours_us)):>24} {by_big:>26} ", end="")
        print(f"{rate:>12,.0f} {p50:,.1f}/{p99:,.1f}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=float, default=6, help="length of a window")
    options.add_argument("--warm-up", type=int, default=10, help="requests of the first connection before the windows")
    options.add_argument("--without-others", action="store_true", help="measure our server alone; installs nothing")
    options.add_argument("--without-big", action="store_true", help="leave out our big upload")
    options.add_argument("--env", type=Path, help="environment of the other servers; created if missing, and kept")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, start, measure in turn. Exits with 1 if the other servers cannot be installed."""
    options = parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        environment: Path | None = None
        if not options.without_others:
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-others-")))
            environment = (options.env or temporary / "env").absolute()
            failure = install(environment)
            if failure:
                raise SystemExit(
                    f"the other servers could not be installed (--without-others leaves them out): {failure}"
                )
            print(versions(environment))
        servers = start(stack, environment, options.warm_up, with_big=not options.without_big)
        windows: dict[str, list[Window]] = {name: [] for name in servers}
        for _, name in alternating(list(servers), options.rounds):
            windows[name].append(measure(*servers[name], options.seconds))
        print_table(windows, {name: server.values for name, (server, _) in servers.items()})


if __name__ == "__main__":
    main()
