"""A server that profiles each of its threads in processor time, and prints the profiles when it ends.

    python -m benchmarks.ingest.profiled_server [--top 40] [--sort tottime]

It is started by ``benchmarks.ingest.upload_profile`` with the settings of a server in its environment.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import threading
import time
from collections.abc import Sequence

from relumine_server.cli.main import main as serve

THREADS = ("MainThread", "relumine-writer", "AnyIO worker thread")


def _profile_threads(profiles: list[tuple[str, cProfile.Profile]]) -> None:
    """Let every thread that starts from now on have a profile of its own."""
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append((thread.name, profile))
        profile.runcall(run, thread)

    threading.Thread.run = profiled  # type: ignore[method-assign, assignment]


def _print(name: str, profile: cProfile.Profile, options: argparse.Namespace) -> None:
    print(f"\n=== {name}")
    pstats.Stats(profile, stream=sys.stdout).sort_stats(options.sort).print_stats(options.top)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--top", type=int, default=40, help="functions to print of each thread")
    options.add_argument("--sort", default="tottime", choices=("tottime", "cumtime"))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends the server, and print."""
    options = parser().parse_args(arguments)
    profiles: list[tuple[str, cProfile.Profile]] = []
    _profile_threads(profiles)
    main_profile = cProfile.Profile(time.thread_time)
    try:
        main_profile.runcall(serve, ["serve"])
    except SystemExit:
        pass
    finally:
        for name, profile in [("MainThread", main_profile), *profiles]:
            if name.startswith(THREADS):
                _print(name, profile, options)


if __name__ == "__main__":
    main()
