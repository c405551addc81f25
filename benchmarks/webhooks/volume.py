"""The lines, notifications, alerts and incidents that a person receives while the layers of one training die.

    python -m benchmarks.webhooks.volume [--layers 60] [--group-wait 1]

A residual network with one block for each layer trains against a real server on SQLite, with a webhook that a receiver
on a real socket answers. From step 100 on one layer dies at every step: its biases are set far below zero.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from torch import nn

import relumine
from benchmarks.common.server_process import relumine as relumine_server

WIDTH = 32
FIRST_DEATH = 100
STEPS_AFTER_THE_LAST_DEATH = 40
EVENTS = ("alert.firing", "alert.resolved", "run.finished")
LAST_NOTIFICATION_S = 60.0


class Receiver(ThreadingHTTPServer):
    """Counts the notifications that arrive, by type."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.types: Counter[str] = Counter()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.types[json.loads(body)["type"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


class Block(nn.Module):
    """A residual block: the other layers stay alive when its ReLU dies."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input and what the ReLU adds to it, both of shape (examples, ``WIDTH``)."""
        added: torch.Tensor = self.act(self.fc(x))
        return x + 0.3 * added


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--layers", type=int, default=60, help="layers that die")
    options.add_argument("--group-wait", type=float, default=1.0, help="seconds for which the webhook groups")
    return options


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver in a thread."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


def train(layers: int, url: str) -> list[str]:
    """Train while one layer after the other dies; return the lines that the SDK logged."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # no class for a list
    logger = logging.getLogger("relumine")
    logger.addHandler(handler)
    torch.set_num_threads(1)  # tensors this small are faster without threads
    torch.manual_seed(0)
    blocks = [Block() for _ in range(layers)]
    model = nn.Sequential(*blocks, nn.Linear(WIDTH, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with relumine.watch(model, optimizer, project="volume", name="dying", url=url, every=1) as monitor:
        for step in range(FIRST_DEATH + layers + STEPS_AFTER_THE_LAST_DEATH):
            if FIRST_DEATH <= step < FIRST_DEATH + layers:
                nn.init.constant_(blocks[step - FIRST_DEATH].fc.bias, -60.0)
            x = torch.randn(64, WIDTH)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            if step % 10 == 0:
                monitor.flush(30)  # as often as a training of longer steps uploads
        monitor.flush(60)
    logger.removeHandler(handler)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the counts and the lines."""
    options = parser().parse_args(arguments)
    settings = {"WEBHOOK_ALLOW_LOOPBACK": "true", "LOG_LEVEL": "error"}
    with tempfile.TemporaryDirectory() as name, receiving() as receiver:
        folder = Path(name)
        os.environ["RELUMINE_DIR"] = str(folder / "spool")
        with relumine_server(f"sqlite:///{folder / 'x.db'}", folder, settings) as server:
            with relumine.Client(server.url) as client:
                target = f"http://127.0.0.1:{receiver.server_port}/hook"
                client.create_webhook(target, events=EVENTS, group_wait_s=options.group_wait)
            lines = train(options.layers, server.url)
            deadline = time.monotonic() + LAST_NOTIFICATION_S
            while not receiver.types["run.finished"] and time.monotonic() < deadline:
                time.sleep(0.1)  # notifications are sent by another process
            with relumine.Client(server.url) as client:
                alerts = sum(1 for _ in client.alerts())
                incidents = sum(1 for _ in client.incidents())
    print(f"{options.layers} layers died: {len(lines)} terminal lines, {sum(receiver.types.values())} notifications")
    print(f"notifications by type: {dict(sorted(receiver.types.items()))}")
    print(f"{alerts} alerts in {incidents} incidents, one card each")
    for line in lines:
        print(f"  {line}")


if __name__ == "__main__":
    main()
