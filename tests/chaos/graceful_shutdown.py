"""SIGTERM again and again while eight clients upload: a quick exit with 0, and every acknowledged upload is stored.

    python -m tests.chaos.graceful_shutdown [--database sqlite|postgres] [--ends 20] [--workers N]

Prints for each database the exit codes, how long an exit took, and what became of the acknowledged uploads. Compaction
runs all the while.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from tests.chaos.server import DATABASES, Server
from tests.chaos.server_kills import CLIENTS, check_stored, upload_and_kill

MAX_EXIT_S = 12.0


def report(name: str, ends: int, workers: int) -> bool:
    """Terminate and restart a server so often; return whether all promises held."""
    exit_codes: Counter[int] = Counter()
    durations: list[float] = []

    def end(server: Server) -> None:
        exit_code, seconds = server.terminate()
        exit_codes[exit_code] += 1
        durations.append(seconds)
        server.start()

    with DATABASES[name]() as (database_url, _ways):
        log, _recovery_s = upload_and_kill(database_url, [end] * ends, workers=workers)
        text, is_good = check_stored(database_url, log)
    processes = f", {workers} processes" if workers > 1 else ""
    print(
        f"{name}{processes}: {ends} times SIGTERM, {CLIENTS} clients: exit codes {dict(exit_codes)}, exit in", end=" "
    )
    print(f"{sorted(durations)[len(durations) // 2]:.2f} s, at most {max(durations):.2f} s; {text}", end="")
    print(f"; unexpected answers {dict(log.unexpected)}" if log.unexpected else "", flush=True)
    is_quick = max(durations) <= MAX_EXIT_S
    return is_good and not log.unexpected and set(exit_codes) == {0} and is_quick


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=tuple(DATABASES), action="append", help="default: both")
    options.add_argument("--ends", type=int, default=20)
    options.add_argument("--workers", type=int, default=1, help="processes on Postgres; SQLite takes one")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Terminate, start, count."""
    options = parser().parse_args(arguments)
    results = []
    for name in options.database or DATABASES:
        workers = options.workers if name == "postgres" else 1
        results.append(report(name, options.ends, workers))
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
