"""A whole training beside a server that is absent, silent, failing, answering garbage or breaking TLS.

    python -m tests.chaos.network_faults

Printed per fault: whether the losses are those of a training without the SDK to the last bit, the exit code, how long
the process took to exit after training, how much memory grew, and the main thread's CPU per step beside the training
without faults.
"""

from __future__ import annotations

import argparse
import http.server
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from benchmarks.common.server_process import free_port
from tests.chaos.harness import Training, server, train

STEPS = ("--steps", "3000")
MAX_EXIT_S = 5.0  # the SDK waits for two seconds, and Python ends its threads and PyTorch


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Run a server that always gives the same answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def absent() -> Iterator[str]:
    """Yield the URL of a port without a listener."""
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def broken_tls() -> Iterator[str]:
    """Yield an https URL behind which there is no TLS."""
    with answering(200, b"no tls here") as url:
        yield url.replace("http:", "https:")


FAULTS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "none": server,
    "absent": absent,
    "silent": silent,
    "answers 500": partial(answering, 500, b"<html>"),
    "answers garbage": partial(answering, 202, b"garbage"),
    "TLS broken": broken_tls,
}


def report(name: str, end: str, training: Training, bare: dict[str, Any]) -> bool:
    """Print a line that compares a training to the one without the SDK; return whether all promises held."""
    result = training.lines[0]
    stats = training.lines[-1]["stats"]
    losses = "bit-identical" if result["losses"] == bare["losses"] else "LOSSES DIFFER"
    growth_kib = result["growth_kib"] - bare["growth_kib"]
    print(
        f"{name:<16} {end:<7} {losses}, exit code {training.exit_code}, process ended {training.exit_s:.2f} s after "
        f"training, memory {growth_kib:+,} KiB, {result['step_us']:.0f} µs a step, sampled {stats['sampled_steps']} "
        f"acked {stats['acked_steps']} spooled {stats['spooled_steps']} dropped {stats['dropped_steps']} "
        f"errors {stats['errors']}, "
        f"{len(training.stderr.splitlines())} lines logged",
        flush=True,
    )
    is_undisturbed = result["losses"] == bare["losses"] and training.exit_code == 0 and not stats["errors"]
    counted = stats["acked_steps"] + stats["spooled_steps"] + sum(stats["dropped_steps"].values())
    is_accounted = end != "close" or counted == stats["sampled_steps"]
    return is_undisturbed and is_accounted and training.exit_s <= MAX_EXIT_S


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per fault and way to end."""
    parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bare = train(folder, "--mode", "disabled", *STEPS).lines[0]
    print(f"without the SDK: {bare['step_us']:.0f} µs a step, memory {bare['growth_kib']:+,} KiB")
    results = []
    for name, fault in FAULTS.items():
        for end in ("close", "return"):
            with tempfile.TemporaryDirectory() as folder, fault() as url:
                training = train(folder, "--url", url, "--end", end, *STEPS)
            results.append(report(name, end, training, bare))
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
