"""What a layer-record costs the server, whole: a real process under load, against the bare driver in process.

    pip install -e '.[server,postgres,dev]'
    python benchmarks/ingest/engine.py [--rounds 7] [--seconds 6] [--only sqlite,postgres] [--sizes big,small]

A round measures every arm once, the next one in the opposite order: the floor (``floor.py``), the detector alone, and
fresh servers on a fresh database under 8 and 64 connections, each with a run of its own and one upload under way. What
is claimed is processor time (user and system) per layer-record: of the server's processes, and of all processes of
Postgres, which is as durable as it comes (fsync and synchronous_commit on). "x floor" is the sum of both over that of
the floor in the same round; "apart" is the same without what the detector took in that round, alone and in process, for
the same uploads.

Records a second and latencies are wall time of this machine, where generator, server and Postgres share the cores:
for orientation. "refused" uploads (429, 503) were sent again after a pause, until they were taken. Not measured here:
upkeep (compaction is in ``disk.py``; servers run without it so that windows are alike), trainings that start or resume,
alerts, webhooks, reads beside the writes, TLS.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from figures import alternating, ratios, spread
from floor import Floor
from load import Target, generator
from servers import relumine
from shapes import BIG, SMALL, Bodies, Shape

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import postgres

from relumine_server.api.uploads import decode
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy

SIZES = {"big": BIG, "small": SMALL}
CLIENTS = (8, 64)
WARM = 64
TARGET = "/v1/uploads"


class Arm(NamedTuple):
    """What is measured in one window; without clients the floor, or the detector."""

    name: str
    clients: int = 0
    servers: int = 1


FLOOR, DETECTOR = Arm("floor"), Arm("detector")


class Taken(NamedTuple):
    """One window. Microseconds of processor per layer-record, and what the generator saw."""

    server_us: float
    postgres_us: float = 0.0
    records_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused: int = 0

    @property
    def us(self) -> float:
        """Of all processes."""
        return self.server_us + self.postgres_us


class Bench:
    """Measures arms on one kind of database with uploads of one shape."""

    def __init__(self, shape: Shape, seconds: float, cluster: postgres.Cluster | None, folder: Path) -> None:
        self.shape = shape
        self.bodies = Bodies(shape)
        self._seconds, self._cluster, self._folder = seconds, cluster, folder

    def measure(self, arm: Arm) -> Taken:
        """One window."""
        if arm == DETECTOR:
            return Taken(_detector_us(self.bodies, self._seconds / 4))
        with self._database() as url:
            return self._floor(url) if arm == FLOOR else self._serve(arm, url)

    @contextlib.contextmanager
    def _database(self) -> Iterator[str]:
        if self._cluster is not None:
            url = self._cluster.new_database()
            yield url
            self._cluster.drop(url)
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as fresh:
            yield f"sqlite:///{fresh}/relumine.db"

    def _floor(self, url: str) -> Taken:
        floor = Floor(self.bodies, url)
        floor.write_for(self._seconds / 6)
        before = self._postgres_s()
        uploads, wall, own = floor.write_for(self._seconds)
        behind = self._postgres_s() - before
        floor.close()
        records = uploads * self.shape.records
        return Taken(1e6 * own / records, 1e6 * behind / records, records / wall)

    def _serve(self, arm: Arm, url: str) -> Taken:
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(relumine(url, self._folder)) for _ in range(arm.servers)]
            ports = [server.port for server in servers]
            load = generator(Target(ports, TARGET, 202), arm.clients, lambda n: _warm(n, arm.clients), self._request)
            ready = stack.enter_context(load)
            before = sum(server.cpu_s() for server in servers), self._postgres_s()
            found = ready.run(self._seconds)
            after = sum(server.cpu_s() for server in servers), self._postgres_s()
        records = found.requests * self.shape.records
        own, behind = (1e6 * (b - a) / records for a, b in zip(before, after, strict=True))
        return Taken(own, behind, records / found.wall_s, found.p50_ms, found.p99_ms, found.refused)

    def _request(self, connection: int, number: int) -> Sequence[bytes]:
        return self.bodies.parts(f"run{connection}", number)

    def _postgres_s(self) -> float:
        return 0.0 if self._cluster is None else self._cluster.cpu_s()


def _warm(connection: int, connections: int) -> int:
    """Uploads before the window: what is made once is made, and states are not all saved at the same time."""
    return max(2, WARM // connections) + connection % 8


def _detector_us(bodies: Bodies, seconds: float) -> float:
    """Of the processor per layer-record, for folding one run's uploads as they come out of the decoder."""
    state = detector.describe(detector.empty(), decode(bodies.body("r", 0)).layers)
    spent, began, number = 0, time.monotonic(), 0
    while time.monotonic() - began < seconds or number < 16:
        records = decode(bodies.body("r", number)).records
        before = time.thread_time_ns()
        state, _, findings = onset.advance(state, records, Policy())
        spent += (time.thread_time_ns() - before) if number >= 8 else 0
        number += 1
        if findings:
            raise RuntimeError("these layers should be healthy")
    return spent / (number - 8) / bodies.shape.records / 1e3


def report(bench: Bench, taken: dict[Arm, list[Taken]], title: str) -> None:
    """Print what was taken with uploads of one shape on one kind of database."""
    print(f"\n{title}, {bench.shape.name} an upload: µs of processor per layer-record, median (least–greatest)")
    heads = f"{'server':>20} {'Postgres':>20} {'x floor':>18} {'apart':>18} {'records/s':>10} p50/p99 ms refused"
    print(f"  {'':<22} {heads}")
    floor, alone = ([one.us for one in taken[arm]] for arm in (FLOOR, DETECTOR))
    for arm, windows in taken.items():
        own, behind = (spread(column, 1) for column in zip(*(one[:2] for one in windows), strict=True))
        rate, p50, p99 = (statistics.median(column) for column in list(zip(*windows, strict=True))[2:5])
        print(f"  {arm.name:<22} {own:>20} {behind if any(one[1] for one in windows) else '':>20} ", end="")
        if not arm.clients:
            print(f"{'':>18} {'':>18} {f'{rate:,.0f}' if rate else '':>10}")
            continue
        over = ratios([one.us for one in windows], floor)
        apart = ratios([one.us - a for one, a in zip(windows, alone, strict=True)], floor)
        print(f"{spread(over):>18} {spread(apart):>18} {rate:>10,.0f} {p50:,.0f}/{p99:,.0f} ", end="")
        print(sum(one.refused for one in windows))
    compare(taken)


def compare(taken: dict[Arm, list[Taken]]) -> None:
    """More clients, more servers: ratios of windows of the same round."""
    few, many = (taken[arm] for arm in taken if arm.clients and arm.servers == 1)
    rates = ratios([one.records_s for one in many], [one.records_s for one in few])
    print(f"  {CLIENTS[1]} clients over {CLIENTS[0]}: records a second {spread(rates)}", end="")
    print(f", processor per record {spread(ratios([one.us for one in many], [one.us for one in few]))}")
    for arm in (arm for arm in taken if arm.servers > 1):
        single = next(taken[other] for other in taken if other.clients == arm.clients and other.servers == 1)
        cost = spread(ratios([one.us for one in taken[arm]], [one.us for one in single]))
        rate = spread(ratios([one.records_s for one in taken[arm]], [one.records_s for one in single]))
        print(f"  {arm.name} over one server: processor per record {cost}, records a second {rate}")


def arms(kind: str) -> list[Arm]:
    """What is measured on this kind of database."""
    single = [Arm(f"{clients} clients", clients) for clients in CLIENTS]
    pairs = [Arm(f"{clients} clients, 2 servers", clients, 2) for clients in CLIENTS]
    return [FLOOR, DETECTOR, *single, *(pairs if kind == "postgres" else [])]


def main() -> None:
    """Measure everything, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--only", default="sqlite,postgres")
    parser.add_argument("--sizes", default=",".join(SIZES))
    options = parser.parse_args()
    kinds, sizes = options.only.split(","), options.sizes.split(",")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-bench-")))
        cluster = stack.enter_context(postgres.running()) if "postgres" in kinds else None
        benches = {
            (kind, size): Bench(SIZES[size], options.seconds, cluster if kind == "postgres" else None, folder)
            for kind in kinds
            for size in sizes
        }
        every = [(key, arm) for key in benches for arm in arms(key[0])]
        taken: dict[tuple[str, str], dict[Arm, list[Taken]]] = {key: {a: [] for a in arms(key[0])} for key in benches}
        for _, (key, arm) in alternating(every, options.rounds):
            taken[key][arm].append(benches[key].measure(arm))
        for key, bench in benches.items():
            report(bench, taken[key], key[0])


if __name__ == "__main__":
    main()
