"""The delay that one broken webhook of fifty causes for the notifications of the other 49.

    python -m benchmarks.webhooks.isolation [--rounds 20] [--others 49] [--failures silent dripping refusing failing]

A real server on SQLite, receivers on real sockets. Each round uploads a run whose layer is born dead; the delay is from
the answer to that upload until each of the other webhooks has received its notification. The broken webhook is one of

- silent: accepts the connection and never answers;
- dripping: answers a byte a second;
- refusing: has no listener;
- failing: answers 500.

Rounds with and without the broken webhook take turns. A round does not wait for the attempt at the broken one, so these
attempts overlap.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import httpx

from benchmarks.common.server_process import free_port, relumine

OTHERS = 49
ROUND_S = 60.0
FAILURES = ("silent", "dripping", "refusing", "failing")
SETTINGS = {"WEBHOOK_ALLOW_LOOPBACK": "true", "GROUP_WAIT_S": "0", "LOG_LEVEL": "error"}


class Receiver(ThreadingHTTPServer):
    """Receives for all webhooks: the path is the number of a working one, or the failure of the broken one."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received_at: defaultdict[str, list[float]] = defaultdict(list)
        """Moments of the notifications of each working webhook."""

    @property
    def url(self) -> str:
        """Address of the receiver."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        name = self.path.removeprefix("/")
        if name == "silent":
            time.sleep(ROUND_S)  # longer than any client waits
            return
        if name == "dripping":
            self._drip()
            return
        if name != "failing":
            self.server.received_at[name].append(time.monotonic())
        self.send_response(500 if name == "failing" else 204)
        self.end_headers()

    def _drip(self) -> None:
        try:
            for byte in b"HTTP/1.1 204 No Content\r\n" * 10:
                self.wfile.write(bytes([byte]))
                time.sleep(1)  # a byte a second
        except OSError:
            return  # the client has given up

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def upload_dead_layer(url: str, run: str) -> float:
    """Upload a run with a layer that is born dead; return the moment of the answer."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": [0, 0]} for step in range(1, 6)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    body = {"run": {"id": run}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    httpx.post(f"{url}/v1/uploads", json=body, timeout=30).raise_for_status()
    return time.monotonic()


def delays_s(url: str, receiver: Receiver, run: str, others: int) -> list[float]:
    """Return the seconds until each working webhook received its notification, in one round."""
    counts = {name: len(moments) for name, moments in receiver.received_at.items()}
    start = upload_dead_layer(url, run)
    received: list[float] = []
    while time.monotonic() < start + ROUND_S:
        received = []
        for name, moments in list(receiver.received_at.items()):
            previous = counts.get(name, 0)
            if len(moments) > previous:
                received.append(moments[previous])
        if len(received) == others:
            return [moment - start for moment in received]
        time.sleep(0.005)  # between two checks
    raise RuntimeError(f"only {len(received)} of {others} notifications arrived within {ROUND_S:g} s")


@contextmanager
def serving() -> Iterator[str]:
    """Run a server; yield its URL."""
    with (
        tempfile.TemporaryDirectory() as folder,
        relumine(f"sqlite:///{folder}/x.db", Path(folder), SETTINGS) as server,
    ):
        yield server.url


def measure(failure: str, rounds: int, others: int) -> tuple[list[float], list[float]]:
    """Return the delays without and with the broken webhook, in rounds that take turns."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    without: list[float] = []
    beside: list[float] = []
    with serving() as url, httpx.Client(base_url=url, timeout=30) as client:
        broken_url = f"http://127.0.0.1:{free_port()}/" if failure == "refusing" else f"{receiver.url}/{failure}"
        working_urls = [f"{receiver.url}/{number}" for number in range(others)]
        for working_url in working_urls[: others // 2 + 1]:
            _add_webhook(client, working_url)
        broken = _add_webhook(client, broken_url)
        for working_url in working_urls[others // 2 + 1 :]:
            _add_webhook(client, working_url)
        delays_s(url, receiver, "warm", others)
        for number in range(rounds):
            for is_enabled, delays in ((False, without), (True, beside)):
                client.patch(f"/v1/webhooks/{broken}", json={"enabled": is_enabled}).raise_for_status()
                delays.extend(delays_s(url, receiver, f"run{number}{is_enabled}", others))
    receiver.shutdown()
    return without, beside


def _add_webhook(client: httpx.Client, url: str) -> str:
    answer = client.post("/v1/webhooks", json={"url": url, "min_severity": "info"}).raise_for_status()
    return str(answer.json()["webhook_id"])


def _median_p99_max(delays: list[float]) -> str:
    ordered = sorted(delays)
    return f"{median(ordered):.3f}, {ordered[int(len(ordered) * 0.99)]:.3f}, {ordered[-1]:.3f}"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--others", type=int, default=OTHERS, help="working webhooks")
    options.add_argument("--failures", nargs="+", choices=FAILURES, default=list(FAILURES))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per failure."""
    options = parser().parse_args(arguments)
    print(f"{'broken one':<10} {'without: median, p99, max (s)':>32} {'beside it: median, p99, max (s)':>34}")
    slowest_s = 0.0
    for failure in options.failures:
        without, beside = measure(failure, options.rounds, options.others)
        slowest_s = max(slowest_s, max(beside) - max(without))
        print(f"{failure:<10} {_median_p99_max(without):>32} {_median_p99_max(beside):>34}", flush=True)
    print(f"the slowest notification came at most {slowest_s:.3f} s later beside a broken webhook")


if __name__ == "__main__":
    main()
