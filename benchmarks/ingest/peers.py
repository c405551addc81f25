"""What a number costs other servers that keep what trainings log, against ours: MLflow and trackio.

    pip install -e '.[server,dev]'
    python benchmarks/ingest/peers.py [--rounds 7] [--seconds 6] [--env DIR]

Each takes the same numbers in one request, of one sampled step of ten layers of eight units: about a thousand, which is
what MLflow takes at most; ours also takes its big upload. Four connections, each with a run of its own; every server on
SQLite, started once; windows in turn. Claimed is processor time (user and system) per number.

Not alike: ours looks for dying units and answers once the disk has it (synchronous=FULL); the peers do not look, and
trackio answers earlier (synchronous=NORMAL). MLflow can be asked for any number by its name, ours and trackio's come in
blocks. The peers are installed into an environment of their own in a temporary folder, or in DIR, where it is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from figures import alternating, ratios, spread
from load import Generator, Target, generator
from peer_servers import PEERS, Peer, install, versions
from servers import relumine
from shapes import BIG, THOUSAND, Bodies, Shape, table, values

CONNECTIONS = 4
WARM = 10
OURS, OURS_BIG = "ours", "ours, big upload"

Make: TypeAlias = Callable[[Path], contextlib.AbstractContextManager[Peer]]
"""Starts a server with its files in a folder."""


class Taken(NamedTuple):
    """One window: microseconds of processor per number, numbers per second, latencies."""

    us: float
    rate: float
    p50_ms: float
    p99_ms: float


@contextlib.contextmanager
def ours(shape: Shape, folder: Path) -> Iterator[Peer]:
    """Our own server."""
    bodies = Bodies(shape)
    with relumine(f"sqlite:///{folder}/relumine.db", folder) as server:
        target = Target([server.port], "/v1/uploads", 202)
        yield Peer(server, target, lambda n, number: bodies.parts(f"run{n}", number), values(table(shape)))


def start(stack: contextlib.ExitStack, environment: Path | None) -> dict[str, tuple[Peer, Generator]]:
    """All servers that start, each with a warmed-up generator."""
    found: dict[str, tuple[Peer, Generator]] = {}
    made: dict[str, Make] = {OURS: partial(ours, THOUSAND), OURS_BIG: partial(ours, BIG)}
    if environment is not None:
        made |= {name: partial(peer, environment, THOUSAND, CONNECTIONS) for name, peer in PEERS.items()}
    for name, make in made.items():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-bench-")))
        try:
            peer = stack.enter_context(make(folder))
            load = stack.enter_context(generator(peer.target, CONNECTIONS, lambda n: WARM + n, peer.request))
        except (RuntimeError, OSError) as error:
            print(f"{name} is left out: {error}")
            continue
        found[name] = peer, load
    return found


def measure(peer: Peer, load: Generator, seconds: float) -> Taken:
    """One window."""
    before = peer.server.cpu_s()
    found = load.run(seconds)
    carried = found.requests * peer.values
    return Taken(1e6 * (peer.server.cpu_s() - before) / carried, carried / found.wall_s, found.p50_ms, found.p99_ms)


def report(taken: dict[str, list[Taken]], carried: dict[str, int]) -> None:
    """Print all rows."""
    print(f"{'':<18} {'numbers':>8} {'µs of processor a number':>26} {'x ours':>24} {'x our big upload':>26} ", end="")
    print(f"{'numbers/s':>12} p50/p99 ms")
    small, big = ([one.us for one in taken[name]] for name in (OURS, OURS_BIG))
    for name, windows in taken.items():
        own = [one.us for one in windows]
        rate, p50, p99 = (statistics.median(column) for column in list(zip(*windows, strict=True))[1:])
        print(f"{name:<18} {carried[name]:>8,} {spread(own, 3):>26} {spread(ratios(own, small)):>24} ", end="")
        print(f"{spread(ratios(own, big)):>26} {rate:>12,.0f} {p50:,.1f}/{p99:,.1f}")


def main() -> None:
    """Install, start, measure in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--env", type=Path, help="environment of the peers; made where it is not there, and kept")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        fresh = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-peers-")))
        environment = (options.env or fresh / "env").absolute()
        failed = install(environment)
        print(f"the peers could not be installed, ours alone: {failed}" if failed else versions(environment))
        servers = start(stack, None if failed else environment)
        taken: dict[str, list[Taken]] = {name: [] for name in servers}
        for _, name in alternating(list(servers), options.rounds):
            taken[name].append(measure(*servers[name], options.seconds))
        report(taken, {name: peer.values for name, (peer, _) in servers.items()})


if __name__ == "__main__":
    main()
