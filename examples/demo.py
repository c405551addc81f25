"""``make demo``: a server on SQLite, a webhook receiver, and two real trainings, in one terminal.

It starts the server in its own process, creates a webhook whose receiver verifies every signature, runs
``dying_digits.py``, and keeps the server running until Ctrl-C (``DEMO_ONCE=1``: exits by itself).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

import relumine

FOLDER = Path(__file__).resolve().parent
READY_TIMEOUT_S = 60.0
DELIVERY_TIMEOUT_S = 15.0


class Receiver(ThreadingHTTPServer):
    """A webhook receiver that verifies notifications and keeps their titles."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.secret = ""
        self.titles: list[str] = []
        self.rejected = 0

    @property
    def url(self) -> str:
        """The URL for the webhook."""
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    """A handler that responds with 204 to a valid signature, and with 401 to an invalid one."""

    server: Receiver

    def do_POST(self) -> None:
        """Verify one notification."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            notification = relumine.verify_webhook(dict(self.headers.items()), body, self.server.secret)
        except relumine.RelumineError:
            self.server.rejected += 1
            self.send_response(401)
        else:
            titles = [alert["title"] for alert in notification["data"]["alerts"]]
            self.server.titles += [f"{notification['type']}: {title}" for title in titles]
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal shows the demo."""


@contextmanager
def start_server(folder: Path, port: int) -> Iterator[str]:
    """Start a server on a new SQLite file, and yield its URL once it is ready."""
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true", "RELUMINE_LOG_LEVEL": "warning"}
    database = f"sqlite:///{folder / 'relumine.db'}"
    command = [sys.executable, "-m", "relumine_server", "serve", "--port", str(port), "--database-url", database]
    server = subprocess.Popen(command, env=environment)
    try:
        wait_until_ready(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for ``/readyz``. Raises RuntimeError if the server exits or does not become ready in time."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError("the server did not become ready")


def free_port() -> int:
    """Return the default port if it is free, else any free one."""
    for port in (7358, 0):
        try:
            with ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler) as probe:
                return probe.server_port
        except OSError:
            continue
    raise RuntimeError("no free port")


def main() -> int:
    """Run the demo; pass its arguments to ``dying_digits.py``."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, start_server(Path(folder), free_port()) as url:
        body = {"url": receiver.url, "group_wait_s": 0}  # send each notification at once
        webhook = httpx.post(f"{url}/v1/webhooks", json=body).raise_for_status().json()
        receiver.secret = webhook["secret"]
        print(f"server and dashboard: {url}")
        code = subprocess.run(
            [sys.executable, str(FOLDER / "dying_digits.py"), "--url", url, *sys.argv[1:]], check=False
        ).returncode
        print_notifications(url, receiver)
        print(f"dashboard: {url}")
        if code == 0 and not os.environ.get("DEMO_ONCE"):
            print("the server is running; press Ctrl-C to stop it")
            wait_for_interrupt()
    return code


def print_notifications(url: str, receiver: Receiver) -> None:
    """Wait until every expected notification has arrived, then print them."""
    with relumine.Client(url) as client:
        expected = sum(alert.severity != "info" for alert in client.alerts())
    deadline = time.monotonic() + DELIVERY_TIMEOUT_S
    while len(receiver.titles) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"signed notifications received: {len(receiver.titles)} (invalid signatures: {receiver.rejected})")
    for title in receiver.titles:
        print(f"  {title}")


def wait_for_interrupt() -> None:
    """Wait for Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
