"""kill -9 again and again while notifications are sent: each arrives at least once, and again only under the same id.

    python -m tests.chaos.dispatcher_kills [--database sqlite|postgres] [--kills 20]

Twenty webhooks have ten notifications waiting each, and every kill is preceded by a new one for all of them. On SQLite
the server is killed; on Postgres first a server that sends, then the server and three ``relumine-server worker``
beside it take turns. The receiver answers after 0.1 to 0.8 s, and every tenth notification with 500 at first. Prints
how many notifications were due (each firing alert to each webhook), how many never arrived, how often one arrived more
than once, and how often an alert arrived under two ids.
"""

from __future__ import annotations

import argparse
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from tests.chaos.notification_receiver import NotificationReceiver
from tests.chaos.server import DATABASES, Server, ServiceProcess

WEBHOOKS = 20
WAITING = 10
DISPATCHERS = 3
DRAIN_S = 180.0
SETTINGS = {
    "WEBHOOK_ALLOW_LOOPBACK": "true",
    "WEBHOOK_TIMEOUT_S": "2",  # a lease expires 15 s after that
    "LOG_LEVEL": "error",
}


@dataclass
class Site:
    """A server on a database, and the dispatchers beside it."""

    server: Server
    dispatchers: list[ServiceProcess]

    @property
    def url(self) -> str:
        """Address of the server."""
        return self.server.url

    def start(self) -> None:
        """Start all processes."""
        for process in (self.server, *self.dispatchers):
            process.start()

    def restart_one(self, number: int) -> None:
        """Kill and restart the server or a dispatcher, in turn by ``number``."""
        processes = [self.server, *self.dispatchers]
        processes[number % len(processes)].restart()

    def kill(self) -> None:
        """Kill all processes."""
        for process in (self.server, *self.dispatchers):
            process.kill()


def site(database_url: str, dispatchers: int) -> Site:
    """Return a server that sends itself, or one that leaves sending to so many dispatchers."""
    arguments = ["--no-dispatcher"] if dispatchers else []
    server = Server(database_url, *arguments, settings=SETTINGS)
    return Site(server, [ServiceProcess("worker", settings=server.settings) for _ in range(dispatchers)])


def upload_dead_layer(url: str, run: str) -> None:
    """Upload a run whose layer is born dead, again and again until it is acknowledged."""
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
        time.sleep(0.05)  # between two attempts


def fill_outbox(database_url: str, port: int, receiver: NotificationReceiver) -> None:
    """Store notifications for all webhooks by a server that does not send."""
    silent = Server(database_url, "--no-dispatcher", settings=SETTINGS, port=port)
    silent.start()
    for number in range(WEBHOOKS):
        hook = {"url": f"http://127.0.0.1:{receiver.server_port}/{number}", "min_severity": "info"}
        httpx.post(f"{silent.url}/v1/webhooks", json=hook, timeout=10).raise_for_status()
    for number in range(WAITING):
        upload_dead_layer(silent.url, f"waiting{number}")
    silent.kill()


def disturb(target: Site, kills: int) -> Counter[str]:
    """Cause notifications and kill processes, then wait until nothing is pending; return deliveries by state."""
    target.start()
    for number in range(kills):
        threading.Thread(target=upload_dead_layer, args=(target.url, f"run{number}"), daemon=True).start()
        time.sleep(random.uniform(0.1, 1.0))  # each kill meets the dispatcher at another moment of its work
        target.restart_one(number)
    return wait_until_drained(target.url, WEBHOOKS * (WAITING + kills))


def wait_until_drained(url: str, expected: int) -> Counter[str]:
    """Wait until all deliveries are stored and none is pending; return their number by state."""
    deadline = time.monotonic() + DRAIN_S
    states: Counter[str] = Counter()
    while time.monotonic() < deadline:
        states = Counter()
        for webhook in items(f"{url}/v1/webhooks"):
            deliveries = items(f"{url}/v1/webhooks/{webhook['webhook_id']}/deliveries")
            states.update(delivery["state"] for delivery in deliveries)
        if states.total() >= expected and not states["pending"]:
            break
        time.sleep(0.5)  # between two checks
    return states


def items(address: str) -> Iterator[dict[str, str]]:
    """Yield the items of all pages of a list."""
    parameters: dict[str, str | int] = {"limit": 200}
    while True:
        page = httpx.get(address, params=parameters, timeout=20).json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]


def report(name: str, database_url: str, dispatchers: int, kills: int) -> bool:
    """Disturb one site and print the outcome; return whether all promises held."""
    receiver = NotificationReceiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    target = site(database_url, dispatchers)
    try:
        fill_outbox(database_url, target.server.port, receiver)
        states = disturb(target, kills)
        firing = [alert["id"] for alert in items(f"{target.url}/v1/alerts")]
    finally:
        target.kill()
        receiver.shutdown()
    due = list(itertools.product(map("/{}".format, range(WEBHOOKS)), firing))
    lost = [key for key in due if not receiver.delivery_ids[key]]
    under_two_ids = [key for key, ids in receiver.delivery_ids.items() if len(ids) > 1]
    repeated = sum(times - 1 for times in receiver.accepted.values())
    sender = f"{dispatchers} dispatchers" if dispatchers else "the server sends"
    print(
        f"{name}, {sender}: {kills} kills, {len(due)} due in {states.total()} notifications {dict(states)}: "
        f"{len(lost)} lost, {repeated} arrived again under the same id, {len(under_two_ids)} under another",
        flush=True,
    )
    return not lost and not under_two_ids and set(states) == {"delivered"} and len(firing) == WAITING + kills


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=tuple(DATABASES), action="append", help="default: both")
    options.add_argument("--kills", type=int, default=20)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every database, and on Postgres with and without dispatchers."""
    options = parser().parse_args(arguments)
    results = []
    for name in options.database or DATABASES:
        for dispatchers in (0, DISPATCHERS) if name == "postgres" else (0,):
            with DATABASES[name]() as (database_url, _ways):
                results.append(report(name, database_url, dispatchers, options.kills))
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
