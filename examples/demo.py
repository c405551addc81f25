"""``make demo``: a server on SQLite, a webhook receiver, and two real trainings, in one terminal.

Starts the server as its own process on free ports, registers a receiver that checks the signature of every
notification, runs ``dying_digits.py``, and keeps the server up until Ctrl-C (``DEMO_ONCE=1``: ends by itself).
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

HERE = Path(__file__).resolve().parent
READY_S = 60.0
DELIVERY_S = 15.0


class Receiver(ThreadingHTTPServer):
    """Takes notifications, verifies them, and keeps their titles."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.secret = ""
        self.titles: list[str] = []
        self.refused = 0

    @property
    def url(self) -> str:
        """Where the server is to send."""
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    """Answers 204 to what is signed with our secret, 401 to all else."""

    server: Receiver

    def do_POST(self) -> None:
        """Verify one notification."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            notification = relumine.verify_webhook(dict(self.headers.items()), body, self.server.secret)
        except relumine.RelumineError:
            self.server.refused += 1
            self.send_response(401)
        else:
            titles = [alert["title"] for alert in notification["data"]["alerts"]]
            self.server.titles += [f"{notification['type']}: {title}" for title in titles]
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the story."""


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """A server process on a fresh SQLite file; yields its address once it is ready."""
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
    """Raises RuntimeError where the server ended or did not become ready."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)  # between two looks at a starting server
    raise RuntimeError("the server did not become ready")


def free_port() -> int:
    """The usual port where nobody listens on it, else any."""
    for port in (7358, 0):
        try:
            with ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler) as probe:
                return probe.server_port
        except OSError:
            continue
    raise RuntimeError("no free port")


def main() -> int:
    """Run the demo; its arguments go to ``dying_digits.py``."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), free_port()) as url:
        hook = {"url": receiver.url, "group_wait_s": 0}  # nobody should wait for company in a demo
        webhook = httpx.post(f"{url}/v1/webhooks", json=hook).raise_for_status().json()
        receiver.secret = webhook["secret"]
        print(f"server and page: {url}")
        code = subprocess.run(
            [sys.executable, str(HERE / "dying_digits.py"), "--url", url, *sys.argv[1:]], check=False
        ).returncode
        tell_notifications(url, receiver)
        print(f"the page: {url}")
        if code == 0 and not os.environ.get("DEMO_ONCE"):
            print("the server stays up until Ctrl-C")
            wait_for_interrupt()
    return code


def tell_notifications(url: str, receiver: Receiver) -> None:
    """Wait until every notification that is owed has come, then say what came."""
    with relumine.Client(url) as client:
        owed = sum(alert.severity != "info" for alert in client.alerts())
    deadline = time.monotonic() + DELIVERY_S
    while len(receiver.titles) < owed and time.monotonic() < deadline:
        time.sleep(0.1)  # between two looks at what the receiver's thread got
    print(f"signed webhooks received: {len(receiver.titles)} (signature refused: {receiver.refused})")
    for title in receiver.titles:
        print(f"  {title}")


def wait_for_interrupt() -> None:
    """Until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
