"""Uploads of ten thousand records, eight at a time with one caller, while others upload as usual: the cost to them.

    python -m tests.chaos.large_uploads [--seconds 40] [--records 10000]

A real server with its default limits, on SQLite and on Postgres. Four clients send small uploads, first alone, then
beside the large ones. Prints how many large uploads were answered and how, the growth of the server's memory, and the
latency of the four clients.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.chaos.other_clients import CLIENTS, measured_growth, other_clients, percentile_ms
from tests.chaos.server import DATABASES, UNDER_ATTACK, Server

SENDERS = 8
MAX_GROWTH_MIB = 50
"""The texts of all that wait, and one upload that is decoded and analyzed."""
MAX_SLOWDOWN = 2.0
"""The p99 of other clients as a multiple of that alone."""


def large_body(run: str, seq: int, records: int) -> bytes:
    """Return an upload of so many records of one layer with two units."""
    first_step = 1 + seq * records
    parts = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 32, "active": [16, 7]}
        for step in range(first_step, first_step + records)
    ]
    layer = {"layer_id": 1, "name": "fc", "units": 2}
    body = {"run": {"id": run}, "session": "s1", "seq": seq + 1, "layers": [layer], "records": parts}
    return json.dumps(body).encode()


def send_until(url: str, run: str, records: int, stop: threading.Event, answers: Counter[str]) -> None:
    """Send large uploads until ``stop`` is set."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for seq in itertools.count():
            if stop.is_set():
                return
            try:
                status = str(client.post("/v1/uploads", content=large_body(run, seq, records)).status_code)
            except httpx.TimeoutException:
                status = "no answer yet"
            answers[status] += 1
            stop.wait(0 if status == "202" else 0.5)  # a refused client does not try again at once


def measure(kind: str, seconds: float, records: int) -> bool:
    """Print the latencies on one kind of database; return whether the promises hold."""
    with DATABASES[kind]() as (database_url, _):
        server = Server(database_url, settings=UNDER_ATTACK)
        server.start()
        try:
            with other_clients(server.url, "alone") as (alone, _):
                time.sleep(seconds / 4)  # the measurement itself
            answers: Counter[str] = Counter()
            stop = threading.Event()
            arguments = [(server.url, f"large{index}", records, stop, answers) for index in range(SENDERS)]
            threads = [threading.Thread(target=send_until, args=of_sender) for of_sender in arguments]
            with measured_growth(server.pid) as growth, other_clients(server.url, "beside") as (beside, small_answers):
                for thread in threads:
                    thread.start()
                time.sleep(seconds)  # the measurement itself
                stop.set()
            for thread in threads:
                thread.join()
        finally:
            server.kill()
    slowdown = percentile_ms(beside, 0.99) / percentile_ms(alone, 0.99)
    print(f"{kind}: large uploads {dict(answers)}, the server grew by {growth[0]:.0f} MiB")
    for name, durations in (("alone", alone), ("beside large ones", beside)):
        figures = ", ".join(f"p{share * 100:g} {percentile_ms(durations, share):.0f}" for share in (0.5, 0.99, 1.0))
        print(f"  {CLIENTS} clients {name:<18} {figures} ms, {len(durations)} uploads")
    print(f"  p99 × {slowdown:.1f} (promised {MAX_SLOWDOWN:g}), answers of small uploads {dict(small_answers)}")
    return slowdown <= MAX_SLOWDOWN and growth[0] <= MAX_GROWTH_MIB and set(small_answers) == {"202"}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=40)
    options.add_argument("--records", type=int, default=10_000)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rig; return 1 where a promise does not hold."""
    options = parser().parse_args(arguments)
    holds = [measure(kind, options.seconds, options.records) for kind in DATABASES]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
