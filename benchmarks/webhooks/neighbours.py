"""Fifty webhooks, one of them dead: how long the other 49 wait for what is told to all of them.

    python benchmarks/webhooks/neighbours.py [--rounds 20]

A real server on SQLite, receivers on real sockets. Each round uploads a run whose layer is born dead; the time is from
the answer to that upload until each of the others has its notification. `silent` takes the connection and says nothing,
`dripping` sends a byte a second, `refusing` has no listener, `failing` answers 500. Rounds with and without a dead one
take turns. A round does not wait for the attempt at the dead one, so these attempts overlap.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chaos"))

from rig import free_port

OTHERS = 49
ROUND_S = 60.0


class Receiver(ThreadingHTTPServer):
    """Notes when each of the others was told; the dead ones behave as their path says."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: defaultdict[str, list[float]] = defaultdict(list)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        way = self.path.removeprefix("/")
        if way == "silent":
            time.sleep(ROUND_S)  # longer than anybody waits for an answer
            return
        if way == "dripping":
            self._drip()
            return
        if way != "failing":
            self.server.told[way].append(time.monotonic())
        self.send_response(500 if way == "failing" else 204)
        self.end_headers()

    def _drip(self) -> None:
        try:
            for byte in b"HTTP/1.1 204 No Content\r\n" * 10:
                self.wfile.write(bytes([byte]))
                time.sleep(1)  # a byte a second
        except OSError:
            return  # the other side has given up

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[str]:
    """A server of its own; its address."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = {"DATABASE_URL": f"sqlite:///{folder}/x.db", "PORT": str(port), "LOG_LEVEL": "error"}
        settings |= {"WEBHOOK_ALLOW_LOOPBACK": "true", "GROUP_WAIT_S": "0"}
        environment = os.environ | {f"RELUMINE_{name}": value for name, value in settings.items()}
        process = subprocess.Popen([sys.executable, "-m", "relumine_server", "serve"], env=environment)
        url = f"http://127.0.0.1:{port}"
        try:
            while not _ready(url):
                time.sleep(0.05)  # between two looks at a starting server
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def tell(url: str, run: str) -> float:
    """An upload after which a layer is born dead; the moment of its answer."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": [0, 0]} for step in range(1, 6)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    body = {"run": {"id": run}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    httpx.post(f"{url}/v1/uploads", json=body, timeout=30).raise_for_status()
    return time.monotonic()


def waits_s(url: str, receiver: Receiver, run: str) -> list[float]:
    """Seconds until each of the others was told, in one round."""
    before = {way: len(moments) for way, moments in receiver.told.items()}
    began = tell(url, run)
    end = began + ROUND_S
    while time.monotonic() < end:
        fresh = [
            moments[before.get(way, 0)]
            for way, moments in list(receiver.told.items())
            if len(moments) > before.get(way, 0)
        ]
        if len(fresh) == OTHERS:
            return [moment - began for moment in fresh]
        time.sleep(0.005)  # between two looks
    raise RuntimeError(f"only {len(fresh)} of {OTHERS} were told within {ROUND_S:g} s")


def measure(way: str, rounds: int) -> tuple[list[float], list[float]]:
    """Waits without and with a dead one, in turns."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{receiver.server_port}"
    without: list[float] = []
    beside: list[float] = []
    with serving() as url, httpx.Client(base_url=url, timeout=30) as client:
        hooks = [f"{address}/{number}" for number in range(OTHERS)]
        dead = f"http://127.0.0.1:{_closed_port()}/" if way == "refusing" else f"{address}/{way}"
        ids = [_add(client, hook) for hook in [*hooks[:25], dead, *hooks[25:]]]
        waits_s(url, receiver, "warm")
        for number in range(rounds):
            for enabled, found in ((False, without), (True, beside)):
                client.patch(f"/v1/webhooks/{ids[25]}", json={"enabled": enabled}).raise_for_status()
                found.extend(waits_s(url, receiver, f"run{number}{enabled}"))
    receiver.shutdown()
    return without, beside


def _add(client: httpx.Client, url: str) -> str:
    answer = client.post("/v1/webhooks", json={"url": url, "severity": "info"}).raise_for_status()
    return str(answer.json()["webhook_id"])


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """One line for each way to be dead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"{'dead one':<10} {'without: median, p99, max (s)':>32} {'beside it: median, p99, max (s)':>34}")
    slowest = 0.0
    for way in ("silent", "dripping", "refusing", "failing"):
        without, beside = measure(way, options.rounds)
        slowest = max(slowest, max(beside) - max(without))
        print(f"{way:<10} {_said(without):>32} {_said(beside):>34}", flush=True)
    raise SystemExit(0 if slowest < 1.0 else 1)


def _said(waits: list[float]) -> str:
    ordered = sorted(waits)
    return f"{median(ordered):.3f}, {ordered[int(len(ordered) * 0.99)]:.3f}, {ordered[-1]:.3f}"


if __name__ == "__main__":
    main()
