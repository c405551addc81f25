"""A Postgres that stands still, and one that restarts, while clients upload and read.

    python -m tests.chaos.frozen_postgres [--rounds 3] [--frozen-s 20]

Prints how long the slowest answer took while all processes of Postgres were stopped, how long the server took to
recover, and what became of the acknowledged uploads.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import sqlalchemy as sa

from benchmarks.common.postgres import running
from tests.chaos.server import Server
from tests.helpers.frozen_postgres import frozen

CLIENTS = 12
MAX_ANSWER_S = 2.5
"""Two seconds, and what a busy machine adds."""
MAX_RECOVERY_S = 5.0


class Traffic:
    """Clients that upload and read all the time; one thread each."""

    def __init__(self, url: str) -> None:
        self.acknowledged: list[tuple[str, int]] = []
        self.codes: Counter[int] = Counter()
        self.slowest_s = 0.0
        self._url = url
        self._lock = threading.Lock()
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """End all clients after their request."""
        self._stop_requested.set()

    def run(self, client_number: int) -> None:
        """Upload and read until ``stop``."""
        run = f"run{client_number}"
        seq = 1
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stop_requested.wait(0.05):
                status = self._send(client, "POST", "/v1/uploads", _body(run, seq))
                if status == 202:
                    with self._lock:
                        self.acknowledged.append((run, seq))
                    seq += 1
                self._send(client, "GET", f"/v1/runs/{run}/overview")

    def _send(self, client: httpx.Client, method: str, path: str, body: object = None) -> int:
        began_at = time.monotonic()
        status = client.request(method, path, json=body).status_code
        with self._lock:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_at)
            self.codes[status] += 1
        return status


def _body(run: str, seq: int) -> dict[str, object]:
    records = [{"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 8, "active": [1, 2]}]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


def recovery_s(url: str) -> float:
    """Return the seconds until a server is ready, at most a minute."""
    began_at = time.monotonic()
    while time.monotonic() - began_at < 60:
        if httpx.get(f"{url}/readyz", timeout=60).status_code == 200:
            break
        time.sleep(0.05)  # between two requests to a server that recovers
    return time.monotonic() - began_at


def report(rounds: int, frozen_s: float) -> bool:
    """Freeze a Postgres so often under traffic; print and return whether all promises held."""
    recoveries = []
    with running() as cluster:
        database_url = cluster.new_database()
        url = sa.make_url(database_url).set(drivername="postgresql+psycopg")
        server = Server(database_url)
        server.start()
        traffic = Traffic(server.url)
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                clients = [pool.submit(traffic.run, number) for number in range(CLIENTS)]
                for _ in range(rounds):
                    time.sleep(3)  # traffic in between
                    with frozen(url):
                        time.sleep(frozen_s)  # the freeze itself
                    recoveries.append(recovery_s(server.url))
                time.sleep(3)  # traffic in between
                traffic.stop()
                for client in clients:
                    client.result()
        finally:
            server.terminate()
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            stored = {tuple(row) for row in connection.execute(sa.text("SELECT run_id, seq FROM uploads"))}
    missing = set(traffic.acknowledged) - stored
    print(f"Postgres frozen {rounds} times for {frozen_s:.0f} s, {CLIENTS} clients: answers {dict(traffic.codes)},")
    print(f"the slowest after {traffic.slowest_s:.2f} s; ready again after at most {max(recoveries):.2f} s;", end=" ")
    print(f"{len(traffic.acknowledged)} uploads acknowledged, {len(missing)} of them missing", flush=True)
    is_quick = traffic.slowest_s <= MAX_ANSWER_S and max(recoveries) <= MAX_RECOVERY_S
    return is_quick and not missing and set(traffic.codes) <= {200, 202, 404, 429, 503}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--frozen-s", type=float, default=20)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Freeze, measure, count."""
    values = parser().parse_args(arguments)
    raise SystemExit(0 if report(values.rounds, values.frozen_s) else 1)


if __name__ == "__main__":
    main()
