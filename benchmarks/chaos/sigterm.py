"""SIGTERM again and again, while eight clients send: exit 0 soon, and what was acknowledged is there, once and whole.

    python benchmarks/chaos/sigterm.py [--database sqlite|postgres] [--ends 20] [--workers N]

Prints for each database the exit codes, how long an end took, and what became of the acknowledged uploads. Compaction
runs all the while.
"""

from __future__ import annotations

import argparse
from collections import Counter

from server_kills import CLIENTS, Server, check, endure, postgres, sqlite

AT_MOST_S = 12.0


def report(name: str, ends: int, workers: int) -> bool:
    """End a server so often; whether it kept what it promises."""
    codes: Counter[int] = Counter()
    took: list[float] = []

    def end(server: Server) -> None:
        code, seconds = server.end()
        codes[code] += 1
        took.append(seconds)
        server.start()

    with {"sqlite": sqlite, "postgres": postgres}[name]() as (database_url, _ways):
        told, _ready = endure(database_url, [end] * ends, workers=workers)
        said, good = check(database_url, told)
    several = f", {workers} processes" if workers > 1 else ""
    print(f"{name}{several}: {ends} times SIGTERM, {CLIENTS} clients: exit codes {dict(codes)}, the end took", end=" ")
    print(f"{sorted(took)[len(took) // 2]:.2f} s, at most {max(took):.2f} s; {said}", end="")
    print(f"; answered strangely {dict(told.strange)}" if told.strange else "", flush=True)
    return good and not told.strange and set(codes) == {0} and max(took) <= AT_MOST_S


def main() -> None:
    """End, start, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes; SQLite takes one")
    options = parser.parse_args()
    kept = [
        report(name, options.ends, options.workers if name == "postgres" else 1)
        for name in options.database or ("sqlite", "postgres")
    ]
    raise SystemExit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
