"""Several server processes on one Postgres, one of them killed and restarted again and again, while layers die.

    python -m tests.chaos.multi_server [--kills 20] [--servers 2 4] [--ways separate workers]

``separate``: processes with a port each, as on several hosts. ``workers``: one ``serve --workers N``, of which a worker
is killed and started again by its parent. Trainings send each upload to a random server until it is acknowledged, some
of them to two at once; in each run layers die, recover and die again, some runs end and some fall silent. People
acknowledge through any server, two of them at the same moment. Four webhooks receive everything; their receiver refuses
one notification in a hundred once. ``tests.chaos.invariants`` lists what must hold at the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.common.postgres import running
from benchmarks.common.stats import children
from tests.chaos.invariants import check_invariants, describe_pending
from tests.chaos.notification_receiver import EventReceiver
from tests.chaos.run_fixtures import UPLOADS, Outcome, bodies, outcome
from tests.chaos.server import RETRY_STATUSES, UNDER_ATTACK, Server, UploadLog

CLIENTS = 8
UPLOAD_PAUSE_S = 0.08
WEBHOOKS = 4
PEOPLE = ("Ada", "Grace")
DRAIN_S = 240.0
SETTINGS = {
    **UNDER_ATTACK,
    "WEBHOOK_ALLOW_LOOPBACK": "true",
    "WEBHOOK_TIMEOUT_S": "2",  # a lease expires 15 s after that
    "GROUP_WAIT_S": "0.5",
    "STALL_TIMEOUT_S": "8",
    "PENDING_FOR_S": "1",
    "EVALUATION_INTERVAL_S": "0.5",
    "LOG_LEVEL": "error",
}


@dataclass
class Site:
    """The processes on one database: each with its own port, or all on one."""

    servers: list[Server]
    workers: int

    @property
    def url(self) -> str:
        """Address of a random server."""
        return random.choice(self.servers).url

    def kill_one(self) -> None:
        """Kill one process with SIGKILL; return when another has taken its place."""
        server = random.choice(self.servers)
        if self.workers == 1:
            server.restart()
            return
        previous = worker_processes(server)
        os.kill(random.choice(previous), signal.SIGKILL)
        while True:
            current = worker_processes(server)
            if len(current) >= self.workers and current != previous:
                return
            time.sleep(0.05)  # until the parent has noticed

    def terminate(self) -> None:
        """Send SIGTERM to all."""
        for server in self.servers:
            server.terminate()


def worker_processes(server: Server) -> list[int]:
    """Return the workers of a parent; its resource tracker is not one of them."""
    return [pid for pid in children(server.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def train(site: Site, name: str, stop: threading.Event, log: UploadLog) -> None:
    """Send one run after the other until ``stop`` is set, each run to its end."""
    with httpx.Client(timeout=10) as client, ThreadPoolExecutor(2) as pool:
        for number in itertools.count():
            if stop.is_set():
                return
            run = f"{name}-{number}"
            for seq, content in enumerate(bodies(run), start=1):
                post = partial(send, client, key=(run, seq), content=content, log=log)
                while not any([*pool.map(post, choose_targets(site))]):
                    time.sleep(0.1)  # between two attempts at servers of which one was just killed
                log.acknowledged.append((run, seq))
                time.sleep(UPLOAD_PAUSE_S)  # as a training pauses between two uploads


def choose_targets(site: Site) -> list[str]:
    """Return where an upload goes: to one server, or to two, as after an answer that came too late."""
    return [site.url] if random.random() > 0.15 else [site.url, site.url]


def send(client: httpx.Client, url: str, key: tuple[str, int], content: bytes, log: UploadLog) -> bool:
    """Send an upload; return whether it was acknowledged. Count how often it was acknowledged as new."""
    try:
        answer = client.post(f"{url}/v1/uploads", content=content)
    except httpx.HTTPError as error:
        log.retried[type(error).__name__] += 1
        return False
    if answer.status_code == 202:
        if not answer.json()["duplicate"]:
            log.retried[f"new {key}"] += 1
        return True
    log.count_refusal(answer.status_code)
    return False


def acknowledge_alerts(site: Site, stop: threading.Event, log: UploadLog) -> None:
    """Let two people acknowledge the newest alert at the same moment: the second must get 409."""
    expected = {0, 200, 409, *RETRY_STATUSES}
    with httpx.Client(timeout=10) as client, ThreadPoolExecutor(len(PEOPLE)) as pool:

        def acknowledge(author: str, alert_id: str) -> int:
            try:
                return client.post(f"{site.url}/v1/alerts/{alert_id}/acknowledge", json={"author": author}).status_code
            except httpx.HTTPError:
                return 0

        while not stop.wait(0.5):
            try:
                firing = client.get(f"{site.url}/v1/alerts", params={"state": "firing", "limit": 5}).json()["items"]
            except httpx.HTTPError:
                continue
            for alert in firing[:1]:
                statuses = pool.map(partial(acknowledge, alert_id=alert["id"]), PEOPLE)
                log.unexpected.update(f"acknowledge {status}" for status in statuses if status not in expected)


def disturb(site: Site, kills: int, clients: int, log: UploadLog) -> None:
    """Send and kill so often; afterwards every run has been sent to its end."""
    stop = threading.Event()
    threads = [threading.Thread(target=train, args=(site, f"run{i}", stop, log)) for i in range(clients)]
    threads.append(threading.Thread(target=acknowledge_alerts, args=(site, stop, log)))
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            time.sleep(random.uniform(0.3, 1.5))  # each kill meets the processes at another moment of their work
            site.kill_one()
        time.sleep(0.5)  # the last process takes part, too
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def running_site(database_url: str, way: str, processes: int, receiver: EventReceiver) -> Iterator[Site]:
    """Run so many server processes, with webhooks to the receiver."""
    workers = 1 if way == "separate" else processes
    parents = processes if way == "separate" else 1
    servers = [Server(database_url, settings=SETTINGS, workers=workers) for _ in range(parents)]
    site = Site(servers, workers)
    try:
        for server in servers:
            server.start()
        for name in range(WEBHOOKS):
            hook = {"url": f"http://127.0.0.1:{receiver.server_port}/{name}", "events": receiver.EVENTS}
            hook["min_severity"] = "info"
            httpx.post(f"{site.url}/v1/webhooks", json=hook, timeout=10).raise_for_status()
        yield site
        site.terminate()
    finally:
        for server in servers:
            server.kill()


def report(database_url: str, way: str, processes: int, kills: int, clients: int) -> bool:
    """Disturb one site and print the outcome; return whether all promises held."""
    log = UploadLog()
    receiver = EventReceiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with running_site(database_url, way, processes, receiver) as site:
        disturb(site, kills, clients, log)
        runs: dict[str, Outcome] = {run: outcome(run) for run, seq in log.acknowledged if seq == UPLOADS}
        pending = wait_until_drained(database_url, runs)
    receiver.shutdown()
    new_twice = [name for name, times in log.retried.items() if name.startswith("new ") and times > 1]
    text, is_good = check_invariants(database_url, log.acknowledged, runs, receiver, WEBHOOKS)
    print(f"{processes} {way}: {kills} kills, {clients} trainings: {text}; ", end="")
    print(f"{len(new_twice)} uploads acknowledged as new twice", end="")
    if log.unexpected:
        print(f"; unexpected answers {dict(log.unexpected)}", end="")
    print(f"; after {DRAIN_S:g} s still pending: {pending}" if pending else "", flush=True)
    return is_good and not new_twice and not log.unexpected and not pending


def wait_until_drained(database_url: str, runs: dict[str, Outcome]) -> str:
    """Wait until the servers have nothing to do; describe what is still pending after ``DRAIN_S``."""
    deadline = time.monotonic() + DRAIN_S
    while (pending := describe_pending(database_url, runs)) and time.monotonic() < deadline:
        time.sleep(0.5)  # between two checks
    return pending


def sqlite_refuses() -> bool:
    """Return whether a second process on the same SQLite file, and several workers on SQLite, are refused by name."""
    with tempfile.TemporaryDirectory() as folder:
        database_url = f"sqlite:///{folder}/relumine.db"
        first = Server(database_url)
        first.start()
        try:
            second = run_refused(database_url, "serve", "--port", str(first.port + 1))
            workers = run_refused(database_url, "serve", "--workers", "2")
        finally:
            first.kill()
    print(f"a second server on one SQLite file: {second}")
    print(f"two workers on SQLite: {workers}", flush=True)
    return "exit 2" in second and "relumine.db" in second and "exit 2" in workers and "Postgres" in workers


def run_refused(database_url: str, *arguments: str) -> str:
    """Run a command that must fail; return its exit code and error output."""
    environment = os.environ | {"RELUMINE_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "relumine_server", *arguments]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return f"exit {completed.returncode}, {' / '.join(completed.stderr.strip().splitlines())}"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--servers", type=int, nargs="+", default=[2, 4], help="numbers of processes")
    options.add_argument("--ways", nargs="+", choices=("separate", "workers"), default=["separate", "workers"])
    options.add_argument("--clients", type=int, default=CLIENTS)
    options.add_argument("--database-url", help="an empty Postgres database; default: a cluster of its own")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every number of processes in every way."""
    options = parser().parse_args(arguments)
    results = []
    with nullcontext() if options.database_url else running() as cluster:
        for way, processes in itertools.product(options.ways, options.servers):
            database_url = options.database_url if cluster is None else cluster.new_database()
            results.append(report(database_url, way, processes, options.kills, options.clients))
    results.append(sqlite_refuses())
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
