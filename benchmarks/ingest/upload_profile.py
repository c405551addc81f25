"""The profile of a server under eight clients: which functions of which thread an upload spends its time in.

    python -m benchmarks.ingest.upload_profile [--shape small] [--seconds 5] [--top 40] [--sort tottime]

The server, this program with ``--serve``, runs with Python's profiler in every thread, on SQLite, and prints the
profiles at its end. Profiling makes it three to four times slower, and functions in Python look dearer than those in C.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import importlib
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.checkouts import checkouts
from benchmarks.ingest.upload_cost import SHAPES, drive, server
from benchmarks.ingest.upload_shapes import UploadBodies
from relumine_server.cli.main import main as serve

THREADS = ("MainThread", "relumine-writer", "AnyIO worker thread")


def serve_profiled(top: int, sort: str) -> None:
    """Serve until a signal ends the server, and print the profile of each thread."""
    importlib.import_module("relumine_server.app")  # imports are no part of an upload
    profiles: list[tuple[str, cProfile.Profile]] = []
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append((thread.name, profile))
        profile.runcall(run, thread)

    threading.Thread.run = profiled  # type: ignore[method-assign, assignment]
    main_profile = cProfile.Profile(time.thread_time)
    with contextlib.suppress(SystemExit):
        main_profile.runcall(serve, ["serve"])
    for name, profile in [("MainThread", main_profile), *profiles]:
        if name.startswith(THREADS):
            print(f"\n=== {name}")
            pstats.Stats(profile, stream=sys.stdout).sort_stats(sort).print_stats(top)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shape", choices=tuple(SHAPES), default="small")
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--top", type=int, default=40, help="functions to print of each thread")
    options.add_argument("--sort", default="tottime", choices=("tottime", "cumtime"))
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    if options.serve:
        serve_profiled(options.top, options.sort)
        return
    module = ("benchmarks.ingest.upload_profile", "--serve", "--top", str(options.top), "--sort", options.sort)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(checkouts(None)["this"], folder, module) as process:
            drive(process, UploadBodies(SHAPES[options.shape]), options.seconds)
        (log,) = folder.glob("server-*.log")
        print(log.read_text())


if __name__ == "__main__":
    main()
