"""A whole training beside a server that is absent, silent, failing, talking nonsense or breaking TLS.

    python benchmarks/chaos/disturbed.py

Per disturbance: whether the losses are those of a training without the SDK to the last bit, the exit code, how long the
process took to end after training, how much memory grew, and the main thread's CPU per step beside the undisturbed one.
"""

from __future__ import annotations

import http.server
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rig import free_port, server, train


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that always answers the same."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{one.server_port}"
    one.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def absent() -> Iterator[str]:
    """A port nobody listens on."""
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def broken_tls() -> Iterator[str]:
    """TLS is asked for, and something else answers."""
    with answering(200, b"no tls here") as url:
        yield url.replace("http:", "https:")


def main() -> None:
    """One line per disturbance."""
    steps = ("--steps", "3000")
    with tempfile.TemporaryDirectory() as folder:
        _, (bare, *_rest), _, _ = train(folder, "--mode", "disabled", *steps)
    print(f"without the SDK: {bare['step_us']:.0f} µs a step, memory {bare['growth_kib']:+,} KiB")
    cases = {
        "undisturbed": server,
        "absent": absent,
        "silent": silent,
        "answers 500": lambda: answering(500, b"<html>"),
        "answers garbage": lambda: answering(202, b"garbage"),
        "TLS broken": broken_tls,
    }
    for name, case in cases.items():
        for end in ("close", "return"):
            with tempfile.TemporaryDirectory() as folder, case() as url:
                code, lines, delay, stderr = train(folder, "--url", url, "--end", end, *steps)
            same = "bit-identical" if lines[0]["losses"] == bare["losses"] else "LOSSES DIFFER"
            stats = lines[-1]["stats"]
            print(
                f"{name:<16} {end:<7} {same}, exit code {code}, process ended {delay:.2f} s after training, memory "
                f"{lines[0]['growth_kib'] - bare['growth_kib']:+,} KiB, {lines[0]['step_us']:.0f} µs a step, "
                f"samples {stats['samples']} sent {stats['sent']} kept {stats['kept']} dropped {stats['dropped']} "
                f"errors {stats['errors']}, {len(stderr.splitlines())} lines said"
            )


if __name__ == "__main__":
    main()
