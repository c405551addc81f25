"""The whole cost of a layer record in the server: real processes under load, against the bare driver in process.

    pip install -e '.[server,postgres,dev]'
    python -m benchmarks.ingest.throughput [--rounds 7] [--seconds 6] [--databases sqlite postgres] [--sizes big small]

A round measures every arm once, the next round in the opposite order: the baseline (``benchmarks.ingest.baseline``),
the detector alone, and fresh servers on a fresh database under 8 and 64 connections, each with its own run and one
upload in flight. The result is processor time (user and system) per layer record: of the server's processes, and of all
processes of Postgres with its default durability (fsync and synchronous_commit on). "x baseline" is the sum of both
over that of the baseline in the same round. "no detector" is the same without the detector's time, measured in process
in that round on the same uploads.

Records per second and latencies are wall time of this machine, where generator, server and Postgres share the cores:
read them as an orientation. Refused uploads (429, 503) were sent again after a pause until they were accepted. Not
measured: maintenance (for compaction see ``benchmarks.ingest.storage_size``; the servers run without it so that windows
are alike), trainings that start or resume, alerts, webhooks, reads beside the writes, TLS.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import postgres
from benchmarks.common.databases import add_option, fresh_database
from benchmarks.common.server_process import relumine
from benchmarks.common.stats import alternating, median_range, ratios
from benchmarks.ingest.baseline import Baseline
from benchmarks.ingest.load_generator import Target, generator
from benchmarks.ingest.upload_shapes import BIG, SMALL, Shape, UploadBodies, decode
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy

SIZES = {"big": BIG, "small": SMALL}
CLIENTS = (8, 64)
WARM_UP_UPLOADS = 64
MEASURED_FROM = 8
"""Uploads that the detector processes before its time counts."""
PATH = "/v1/uploads"


class Arm(NamedTuple):
    """The subject of one window; without clients it is the baseline or the detector alone."""

    name: str
    clients: int = 0
    servers: int = 1


BASELINE = Arm("baseline")
DETECTOR = Arm("detector")


class Window(NamedTuple):
    """One measurement: microseconds of processor per layer record, and the load generator's view."""

    server_us: float
    postgres_us: float = 0.0
    records_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused: int = 0

    @property
    def us(self) -> float:
        """Processor time of all processes."""
        return self.server_us + self.postgres_us


class Bench:
    """Measures arms on one kind of database with uploads of one shape."""

    def __init__(self, shape: Shape, seconds: float, cluster: postgres.Cluster | None, folder: Path) -> None:
        self.shape = shape
        self.bodies = UploadBodies(shape)
        self._seconds = seconds
        self._cluster = cluster
        self._folder = folder

    def measure(self, arm: Arm) -> Window:
        """Measure one window on a fresh database."""
        if arm == DETECTOR:
            return Window(_detector_us(self.bodies, self._seconds / 4))
        with fresh_database(self._cluster) as url:
            return self._measure_baseline(url) if arm == BASELINE else self._measure_servers(arm, url)

    def _measure_baseline(self, url: str) -> Window:
        baseline = Baseline(self.bodies, url)
        baseline.write_for(self._seconds / 6)  # warm up
        postgres_at_start = self._postgres_cpu_s()
        uploads, wall_s, driver_s = baseline.write_for(self._seconds)
        postgres_s = self._postgres_cpu_s() - postgres_at_start
        baseline.close()
        records = uploads * self.shape.records
        return Window(1e6 * driver_s / records, 1e6 * postgres_s / records, records / wall_s)

    def _measure_servers(self, arm: Arm, url: str) -> Window:
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(relumine(url, self._folder)) for _ in range(arm.servers)]
            target = Target([server.port for server in servers], PATH, 202)
            load = generator(target, arm.clients, lambda index: _warm_up(index, arm.clients), self._body)
            ready = stack.enter_context(load)
            servers_at_start = sum(server.cpu_s() for server in servers)
            postgres_at_start = self._postgres_cpu_s()
            result = ready.run(self._seconds)
            servers_s = sum(server.cpu_s() for server in servers) - servers_at_start
            postgres_s = self._postgres_cpu_s() - postgres_at_start
        records = result.requests * self.shape.records
        return Window(
            server_us=1e6 * servers_s / records,
            postgres_us=1e6 * postgres_s / records,
            records_per_s=records / result.wall_s,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            refused=result.refused,
        )

    def _body(self, connection: int, number: int) -> Sequence[bytes]:
        return self.bodies.parts(f"run{connection}", number)

    def _postgres_cpu_s(self) -> float:
        return 0.0 if self._cluster is None else self._cluster.cpu_s()


def _warm_up(connection: int, connections: int) -> int:
    """Return the uploads before the window, different per connection so that states are not saved at the same time."""
    return max(2, WARM_UP_UPLOADS // connections) + connection % 8


def _detector_us(bodies: UploadBodies, seconds: float) -> float:
    """Return the detector's microseconds of processor per layer record, on one run's decoded uploads."""
    state = detection_state.describe(detection_state.empty(), decode(bodies.body("r", 0)).layers)
    elapsed_ns = 0
    number = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or number < 2 * MEASURED_FROM:
        records = decode(bodies.body("r", number)).records
        start = time.thread_time_ns()
        state, _readings, findings = detector.advance(state, records, Policy())
        if number >= MEASURED_FROM:
            elapsed_ns += time.thread_time_ns() - start
        number += 1
        if findings:
            raise RuntimeError("these layers should be healthy")
    return elapsed_ns / (number - MEASURED_FROM) / bodies.shape.records / 1e3


def print_table(bench: Bench, windows: dict[Arm, list[Window]], title: str) -> None:
    """Print the windows of one shape on one kind of database."""
    print(f"\n{title}, {bench.shape.name} an upload: µs of processor per layer record, median (least–greatest)")
    heads = (
        f"{'server':>20} {'Postgres':>20} {'x baseline':>18} {'no detector':>18} {'records/s':>10} p50/p99 ms refused"
    )
    print(f"  {'':<22} {heads}")
    baseline = [window.us for window in windows[BASELINE]]
    detector_alone = [window.us for window in windows[DETECTOR]]
    for arm, rounds in windows.items():
        server = median_range([window.server_us for window in rounds], 1)
        in_postgres = median_range([window.postgres_us for window in rounds], 1)
        if not any(window.postgres_us for window in rounds):
            in_postgres = ""
        rate = statistics.median(window.records_per_s for window in rounds)
        print(f"  {arm.name:<22} {server:>20} {in_postgres:>20} ", end="")
        if not arm.clients:
            print(f"{'':>18} {'':>18} {f'{rate:,.0f}' if rate else '':>10}")
            continue
        relative = ratios([window.us for window in rounds], baseline)
        remainder = [window.us - alone for window, alone in zip(rounds, detector_alone, strict=True)]
        p50 = statistics.median(window.p50_ms for window in rounds)
        p99 = statistics.median(window.p99_ms for window in rounds)
        print(f"{median_range(relative):>18} {median_range(ratios(remainder, baseline)):>18} ", end="")
        print(f"{rate:>10,.0f} {p50:,.0f}/{p99:,.0f} {sum(window.refused for window in rounds)}")
    print_comparisons(windows)


def print_comparisons(windows: dict[Arm, list[Window]]) -> None:
    """Print the ratios of more clients over fewer, and of two servers over one, within each round."""
    single = {arm.clients: rounds for arm, rounds in windows.items() if arm.clients and arm.servers == 1}
    if len(single) > 1:
        few = min(single)
        many = max(single)
        rate, cost = _compare(single[many], single[few])
        print(f"  {many} clients over {few}: records a second {rate}, processor per record {cost}")
    for arm, rounds in windows.items():
        if arm.servers > 1:
            rate, cost = _compare(rounds, single[arm.clients])
            print(f"  {arm.name} over one server: processor per record {cost}, records a second {rate}")


def _compare(rounds: list[Window], others: list[Window]) -> tuple[str, str]:
    """Return the ratios of records per second and of processor time per record."""
    rates = ratios([window.records_per_s for window in rounds], [window.records_per_s for window in others])
    costs = ratios([window.us for window in rounds], [window.us for window in others])
    return median_range(rates), median_range(costs)


def arms(kind: str, clients: Sequence[int]) -> list[Arm]:
    """Return the arms on this kind of database; SQLite takes one server process."""
    servers = [Arm(f"{count} clients", count) for count in clients]
    if kind == "postgres":
        servers += [Arm(f"{count} clients, 2 servers", count, 2) for count in clients]
    return [BASELINE, DETECTOR, *servers]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=float, default=6, help="length of a window")
    options.add_argument("--clients", type=int, nargs="*", default=list(CLIENTS), help="connections of each server arm")
    options.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, round by round."""
    options = parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relumine-bench-")))
        cluster = stack.enter_context(postgres.running()) if "postgres" in options.databases else None
        benches: dict[tuple[str, str], Bench] = {}
        windows: dict[tuple[str, str], dict[Arm, list[Window]]] = {}
        for kind in options.databases:
            for size in options.sizes:
                cluster_of_kind = cluster if kind == "postgres" else None
                benches[kind, size] = Bench(SIZES[size], options.seconds, cluster_of_kind, folder)
                windows[kind, size] = {arm: [] for arm in arms(kind, options.clients)}
        subjects = [(key, arm) for key, by_arm in windows.items() for arm in by_arm]
        for _, (key, arm) in alternating(subjects, options.rounds):
            windows[key][arm].append(benches[key].measure(arm))
        for key, bench in benches.items():
            print_table(bench, windows[key], key[0])


if __name__ == "__main__":
    main()
