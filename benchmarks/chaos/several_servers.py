"""Several server processes on one Postgres, one of them killed and restarted again and again, while trainings die.

    python benchmarks/chaos/several_servers.py [--kills 20] [--servers 2 4] [--ways separate workers]

``separate``: processes with a port each, as on several hosts. ``workers``: one ``serve --workers N``, of which a
process is killed and started again by its parent. Trainings send each upload to one server at random until it was
acknowledged, some of them to two at once; in each of their runs layers die, come back and die again, some runs end and
some fall silent. People acknowledge through any server, two of them at the same moment. Four webhooks hear of
everything; their receiver refuses one notification in a hundred once. ``ledger.py`` says what must hold at the end; it
is printed in words.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from dying_runs import UPLOADS, Outcome, bodies, outcome
from ledger import Heard, audit, waits_for
from server_kills import AGAIN, Server, Told

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import children, running

CLIENTS, PAUSE_S, WEBHOOKS, PEOPLE = 8, 0.08, 4, ("Ada", "Grace")
DRAIN_S = 240.0
SETTINGS = {
    "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true",
    "RELUMINE_WEBHOOK_TIMEOUT_S": "2",  # a lease runs out 15 s after that
    "RELUMINE_GROUP_WAIT_S": "0.5",
    "RELUMINE_STALLED_AFTER_S": "8",
    "RELUMINE_STALLED_GRACE_S": "1",
    "RELUMINE_SWEEP_EVERY_S": "0.5",
    "RELUMINE_LOG_LEVEL": "error",
}


@dataclass
class Site:
    """The processes on one database: each with a port of its own, or all on one."""

    servers: list[Server]
    workers: int

    @property
    def url(self) -> str:
        """Of any of them."""
        return random.choice(self.servers).url

    def kill_one(self) -> None:
        """SIGKILL to one process; returns when there is another in its place."""
        server = random.choice(self.servers)
        if self.workers == 1:
            server.restart()
            return
        before = processes(server)
        os.kill(random.choice(before), signal.SIGKILL)
        while len(after := processes(server)) < self.workers or after == before:
            time.sleep(0.05)  # until its parent has noticed

    def end(self) -> None:
        """SIGTERM to all."""
        for server in self.servers:
            server.end()


def processes(server: Server) -> list[int]:
    """The processes that serve for a parent; what watches over its resources is none."""
    return [pid for pid in children(server.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def train(site: Site, name: str, stop: threading.Event, told: Told) -> None:
    """One run after the other, each to its end: a training is not told to stop."""
    with httpx.Client(timeout=10) as client, ThreadPoolExecutor(2) as both:
        for number in itertools.count():
            if stop.is_set():
                return
            run = f"{name}-{number}"
            for seq, content in enumerate(bodies(run), start=1):
                post = partial(send, client, key=(run, seq), content=content, told=told)
                while not any([*both.map(post, targets(site))]):
                    time.sleep(0.1)  # between two tries at servers of which one was just killed
                told.acknowledged.append((run, seq))
                time.sleep(PAUSE_S)  # what a training does between two uploads


def targets(site: Site) -> list[str]:
    """Where an upload goes: to one server, or, as after an answer that came too late, to two."""
    return [site.url] if random.random() > 0.15 else [site.url, site.url]


def send(client: httpx.Client, url: str, key: tuple[str, int], content: bytes, told: Told) -> bool:
    """Whether the upload was acknowledged; that it was new may be said once."""
    try:
        answer = client.post(f"{url}/v1/uploads", content=content)
    except httpx.HTTPError as error:
        told.again[type(error).__name__] += 1
        return False
    if answer.status_code == 202:
        if not answer.json()["duplicate"]:
            told.again[f"new {key}"] += 1
        return True
    (told.again if answer.status_code in AGAIN else told.strange)[str(answer.status_code)] += 1
    return False


def acknowledge(site: Site, stop: threading.Event, told: Told) -> None:
    """Two people at the newest alerts: whoever is second is told so."""
    with httpx.Client(timeout=10) as client, ThreadPoolExecutor(len(PEOPLE)) as both:

        def take(author: str, alert_id: str) -> int:
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
                said = both.map(lambda author, alert=alert: take(author, alert["id"]), PEOPLE)
                told.strange.update(f"acknowledge {code}" for code in said if code not in {0, 200, 409, *AGAIN})


def endure(site: Site, kills: int, clients: int, told: Told) -> None:
    """Send and kill, as often as told; afterwards every run has been sent to its end."""
    stop = threading.Event()
    work = [threading.Thread(target=train, args=(site, f"run{i}", stop, told)) for i in range(clients)]
    work.append(threading.Thread(target=acknowledge, args=(site, stop, told)))
    for thread in work:
        thread.start()
    try:
        for _ in range(kills):
            time.sleep(random.uniform(0.3, 1.5))  # each kill meets another moment of its work
            site.kill_one()
        time.sleep(0.5)  # the last process takes part, too
    finally:
        stop.set()
        for thread in work:
            thread.join()


@contextmanager
def site(database_url: str, way: str, number: int, heard: Heard) -> Iterator[Site]:
    """So many processes that serve, and webhooks to the receiver."""
    apart = way == "separate"
    servers = [Server("", database_url, 1 if apart else number) for _ in range(number if apart else 1)]
    here = Site(servers, 1 if apart else number)
    try:
        for server in servers:
            server.start()
        for name in range(WEBHOOKS):
            hook = {"url": f"http://127.0.0.1:{heard.server_port}/{name}", "severity": "info", "events": heard.EVENTS}
            httpx.post(f"{here.url}/v1/webhooks", json=hook, timeout=10).raise_for_status()
        yield here
        here.end()
    finally:
        for server in servers:
            server.kill()


def report(database_url: str, way: str, number: int, kills: int, clients: int) -> bool:
    """Disturb one site, and print what became of what it owed."""
    told, heard = Told(), Heard()
    threading.Thread(target=heard.serve_forever, daemon=True).start()
    with site(database_url, way, number, heard) as here:
        endure(here, kills, clients, told)
        runs: dict[str, Outcome] = {run: outcome(run) for run, seq in told.acknowledged if seq == UPLOADS}
        until = time.monotonic() + DRAIN_S
        while (left := waits_for(database_url, runs)) and time.monotonic() < until:
            time.sleep(0.5)  # between two looks
    heard.shutdown()
    twice = [said for said, times in told.again.items() if said.startswith("new ") and times > 1]
    print(f"{number} {way}: {kills} kills, {clients} trainings: ", end="")
    said, good = audit(database_url, told.acknowledged, runs, heard, WEBHOOKS)
    print(f"{said}; {len(twice)} uploads called new twice", end="")
    print(f"; answered strangely {dict(told.strange)}" if told.strange else "", end="")
    print(f"; after {DRAIN_S:g} s still waits: {left}" if left else "", flush=True)
    return good and not twice and not told.strange and not left


def sqlite_refuses() -> bool:
    """A second process on the same SQLite file, and several at once, are refused by name."""
    with tempfile.TemporaryDirectory() as folder:
        first = Server(folder)
        first.start()
        try:
            second = refused(folder, "serve", "--port", str(first.port + 1))
            workers = refused(folder, "serve", "--workers", "2")
        finally:
            first.kill()
    print(f"a second server on one SQLite file: {second}")
    print(f"two workers on SQLite: {workers}", flush=True)
    return "exit 2" in second and "relumine.db" in second and "exit 2" in workers and "Postgres" in workers


def refused(folder: str, *arguments: str) -> str:
    """How a command ended, and its one line."""
    environment = os.environ | {"RELUMINE_DATABASE_URL": f"sqlite:///{folder}/relumine.db"}
    command = [sys.executable, "-m", "relumine_server", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return f"exit {done.returncode}, {' / '.join(done.stderr.strip().splitlines())}"


def main() -> None:
    """Every number of processes in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--servers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--ways", nargs="+", choices=("separate", "workers"), default=["separate", "workers"])
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--database-url", help="an empty Postgres database; default: a cluster of its own")
    options = parser.parse_args()
    os.environ.update(SETTINGS)
    kept = []
    with nullcontext() if options.database_url else running() as cluster:
        for way, number in itertools.product(options.ways, options.servers):
            database_url = options.database_url or cluster.new_database()
            kept.append(report(database_url, way, number, options.kills, options.clients))
    kept.append(sqlite_refuses())
    raise SystemExit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
