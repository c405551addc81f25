"""kill -9 again and again while notifications go out: each arrives at least once, twice only under the same id.

    python benchmarks/chaos/courier_kills.py [--database sqlite|postgres] [--kills 20]

Twenty webhooks have ten notifications waiting each, and every kill is preceded by a new one for all of them. On SQLite
the server is killed; on Postgres first a server that sends, then the server or one of three `relumine-server courier`
beside it, in turn. The receiver answers after 0.1 to 0.8 s, and every tenth notification with 500 at first. Prints what
was owed (each firing alert to each webhook), how much of it never came, how often a notification came more than once,
and how often an alert came under two ids.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
from rig import free_port

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import running

WEBHOOKS, WAITING, COURIERS = 20, 10, 3
DRAIN_S = 180.0
SETTINGS = {
    "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true",
    "RELUMINE_WEBHOOK_TIMEOUT_S": "2",  # a lease runs out 15 s after that
    "RELUMINE_LOG_LEVEL": "error",
}


class Receiver(ThreadingHTTPServer):
    """Keeps which alerts each webhook was told, under which ids."""

    daemon_threads = True
    request_queue_size = 256
    ANSWER_S: ClassVar = (0.1, 0.8)
    FAILING: ClassVar = 10  # every so-many-th notification fails once

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.times: Counter[str] = Counter()
        """How often each id was accepted."""
        self.ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """Under which ids a webhook was told of an alert."""
        self.refused: set[str] = set()

    def accepts(self, path: str, delivery_id: str, body: bytes) -> bool:
        """Whether this try is answered with success; then what it told is kept."""
        with self.lock:
            if int(delivery_id[-8:], 16) % self.FAILING == 0 and delivery_id not in self.refused:
                self.refused.add(delivery_id)
                return False
            self.times[delivery_id] += 1
            self.keep(path, delivery_id, body)
            return True

    def keep(self, path: str, delivery_id: str, body: bytes) -> None:
        """Note what a notification told."""
        for alert in json.loads(body)["data"]["alerts"]:
            self.ids[path, alert["id"]].add(delivery_id)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        body = self.rfile.read(size)
        if len(body) < size:
            return  # the sender was killed halfway
        good = self.server.accepts(self.path, self.headers["webhook-id"], body)
        time.sleep(random.uniform(*self.server.ANSWER_S))  # kills meet attempts that arrived and are not answered yet
        try:
            self.send_response(204 if good else 500)
            self.end_headers()
        except OSError:
            return  # whoever asked was killed

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Service:
    """One process of the server's command, that is killed and started again."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._environment, self._arguments = os.environ | environment, arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin."""
        command = [sys.executable, "-m", "relumine_server", *self._arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=self._environment, **quiet)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass
class Site:
    """A database, the server on it, and what sends."""

    url: str
    server: Service
    couriers: list[Service] = field(default_factory=list)

    def begin(self) -> None:
        """Start everything."""
        self.server.start()
        self.await_ready()
        for courier in self.couriers:
            courier.start()

    def kill_one(self, number: int) -> None:
        """Kill the server or a courier, in turn, and start it again."""
        victim = [self.server, *self.couriers][number % (len(self.couriers) + 1)]
        victim.kill()
        victim.start()
        self.await_ready()

    def end(self) -> None:
        """Kill everything."""
        for service in (self.server, *self.couriers):
            service.kill()

    def await_ready(self) -> None:
        """Until the server answers."""
        for _ in range(3000):
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.02)  # between two looks at a starting server
        raise RuntimeError("not ready in a minute")


def site(database_url: str, couriers: int) -> Site:
    """A server that sends, or one that leaves it to so many couriers."""
    port = free_port()
    here = SETTINGS | {"RELUMINE_DATABASE_URL": database_url, "RELUMINE_PORT": str(port)}
    server = Service(here, "serve", *(["--no-courier"] if couriers else []))
    return Site(f"http://127.0.0.1:{port}", server, [Service(here, "courier") for _ in range(couriers)])


def tell(url: str, run: str) -> None:
    """An upload after which a layer is born dead, sent until it was acknowledged."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": [0, 0]} for step in range(1, 6)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    body = {"run": {"id": run}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    while True:
        try:
            answer = httpx.post(f"{url}/v1/uploads", json=body, timeout=10)
        except httpx.HTTPError:
            time.sleep(0.05)  # the server was just killed
            continue
        if answer.status_code == 202:
            return
        time.sleep(0.05)  # between two tries


def endure(here: Site, receiver: Receiver, kills: int) -> Counter[str]:
    """Fill the outbox, kill and restart, then wait until nothing waits; deliveries by state."""
    silent = Site(here.url, Service(here.server._environment, "serve", "--no-courier"))  # noqa: SLF001 - the same, silent
    silent.begin()
    for number in range(WEBHOOKS):
        hook = {"url": f"http://127.0.0.1:{receiver.server_port}/{number}", "severity": "info"}
        httpx.post(f"{here.url}/v1/webhooks", json=hook, timeout=10).raise_for_status()
    for number in range(WAITING):
        tell(here.url, f"waiting{number}")
    silent.end()
    here.begin()
    for number in range(kills):
        threading.Thread(target=tell, args=(here.url, f"run{number}"), daemon=True).start()
        time.sleep(random.uniform(0.1, 1.0))  # each kill meets the courier at another moment of its work
        here.kill_one(number)
    return drained(here.url, WEBHOOKS * (WAITING + kills))


def drained(url: str, expected: int) -> Counter[str]:
    """Deliveries by state, once all are written and none waits any more."""
    end = time.monotonic() + DRAIN_S
    states: Counter[str] = Counter()
    while time.monotonic() < end:
        states = Counter()
        for webhook in items(f"{url}/v1/webhooks"):
            states.update(one["state"] for one in items(f"{url}/v1/webhooks/{webhook['webhook_id']}/deliveries"))
        if states.total() >= expected and not states["pending"]:
            break
        time.sleep(0.5)  # between two looks
    return states


def items(address: str) -> Iterator[dict[str, str]]:
    """All pages of a list."""
    cursor = None
    while True:
        page = httpx.get(address, params={"limit": 200, **({"cursor": cursor} if cursor else {})}, timeout=20).json()
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def report(name: str, database_url: str, couriers: int, kills: int) -> bool:
    """Disturb one site and print what became of what it owed."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    here = site(database_url, couriers)
    try:
        states = endure(here, receiver, kills)
        firing = [alert["id"] for alert in items(f"{here.url}/v1/alerts")]
    finally:
        here.end()
        receiver.shutdown()
    owed = list(itertools.product(map("/{}".format, range(WEBHOOKS)), firing))
    lost = [key for key in owed if not receiver.ids[key]]
    twice = {key for key, ids in receiver.ids.items() if len(ids) > 1}
    again = sum(times - 1 for times in receiver.times.values())
    who = f"{couriers} couriers" if couriers else "the server sends"
    print(
        f"{name}, {who}: {kills} kills, {len(owed)} owed in {states.total()} notifications {dict(states)}: "
        f"{len(lost)} lost, {again} came again under the same id, {len(twice)} under another",
        flush=True,
    )
    return not lost and not twice and set(states) == {"delivered"} and len(firing) == WAITING + kills


@contextmanager
def sqlite() -> Iterator[str]:
    """The address of a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/relumine.db"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a new database on a durable Postgres."""
    with running() as cluster:
        yield cluster.new_database()


def main() -> None:
    """Every database, every way to send."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    kept = []
    for name in options.database or ("sqlite", "postgres"):
        for couriers in (0, COURIERS) if name == "postgres" else (0,):
            with {"sqlite": sqlite, "postgres": postgres}[name]() as database_url:
                kept.append(report(name, database_url, couriers, options.kills))
    raise SystemExit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
