"""Compression bombs, lying lengths, slow and endless bodies, while other clients upload as usual: the cost to both.

    python -m tests.chaos.payload_bombs [--seconds 30]

A real server with its default limits. Four clients send small uploads, first alone, then beside the attacks: bombs in
gzip, zstd and JSON, lengths that lie, one body of a gigabyte in chunks after the other, and 500 connections that send a
byte a second, half of them in the head and half in the body. Prints the answers to each attack, how much the server's
memory grew at its peak, and the latency of the four clients with and without the attacks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.chaos.payload_attacks import SLOW_CONNECTIONS, SlowConnections, attack_requests, send, send_endless
from tests.chaos.server import Server
from tests.chaos.server_kills import upload_body

CLIENTS = 4
UPLOAD_PAUSE_S = 0.05
ATTACK_PAUSE_S = 0.2
SLOW = f"{SLOW_CONNECTIONS} slow connections"
ENDLESS = "1 GiB in chunks"

# What is promised: memory of the attacks, and the p99 of other clients as a multiple of that without attacks.
MAX_GROWTH_MIB = 50
MAX_SLOWDOWN = 2.0


def upload_until(url: str, run: str, stop: threading.Event, durations: list[float], answers: Counter[str]) -> None:
    """Send small uploads until ``stop`` is set, as a training does."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for seq in itertools.count(1):
            content = json.dumps(upload_body(run, seq))
            start = time.perf_counter()
            answers[str(client.post("/v1/uploads", content=content).status_code)] += 1
            durations.append(time.perf_counter() - start)
            if stop.wait(UPLOAD_PAUSE_S):
                return


@contextmanager
def other_clients(url: str, name: str) -> Iterator[tuple[list[float], Counter[str]]]:
    """Run trainings beside the block; yield the seconds of each upload, and their answers."""
    durations: list[float] = []
    answers: Counter[str] = Counter()
    stop = threading.Event()
    threads = []
    for index in range(CLIENTS):
        arguments = (url, f"{name}{index}", stop, durations, answers)
        threads.append(threading.Thread(target=upload_until, args=arguments))
    for thread in threads:
        thread.start()
    try:
        yield durations, answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def memory_mib(pid: int, field: str) -> float:
    """Return VmRSS (now) or VmHWM (peak since the reset) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


@contextmanager
def measured_growth(pid: int) -> Iterator[list[float]]:
    """Yield a list that holds, after the block, the MiB by which a process grew at its peak."""
    growth: list[float] = []
    memory_at_start = memory_mib(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # reset the peak
    yield growth
    growth.append(memory_mib(pid, "VmHWM") - memory_at_start)


def percentile_ms(seconds: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return 1e3 * sorted(seconds)[min(int(share * len(seconds)), len(seconds) - 1)]


def attack(server: Server, seconds: float, requests: Mapping[str, bytes], answers: dict[str, Counter[str]]) -> None:
    """Attack for a while: slow connections and endless bodies throughout, the requests one after the other."""
    stop = threading.Event()
    deadline = time.monotonic() + seconds

    def repeat_endless() -> None:
        while not stop.wait(1.0):
            send_endless(server.port, answers[ENDLESS])

    slow = SlowConnections(server.port, answers[SLOW])
    threads = [threading.Thread(target=slow.run, args=(stop,)), threading.Thread(target=repeat_endless)]
    for thread in threads:
        thread.start()
    for name in itertools.cycle(requests):
        if time.monotonic() > deadline:
            break
        send(server.port, requests[name], answers[name])
        time.sleep(ATTACK_PAUSE_S)  # five a second
    stop.set()
    for thread in threads:
        thread.join()


def print_answers(answers: dict[str, Counter[str]]) -> set[str]:
    """Print the answers to each attack; return those that are neither 4xx nor a closed connection."""
    unexpected = set()
    for name, statuses in answers.items():
        print(f"{name:<30} {dict(sorted(statuses.items()))}")
        unexpected |= {status for status in statuses if status != "closed" and not status.startswith("4")}
    return unexpected


def measure(server: Server, seconds: float) -> bool:
    """Measure without and with the attacks, and print; return whether all promises held.

    Memory of the uploads alone is measured too: each new run is detector state in memory, attacked or not.
    """
    requests = attack_requests()
    answers = {name: Counter[str]() for name in (*requests, ENDLESS, SLOW)}
    with other_clients(server.url, "warm"):
        time.sleep(3)  # the first requests of a server are its slowest
    with measured_growth(server.pid) as growth_alone, other_clients(server.url, "alone") as (alone, _):
        time.sleep(seconds)  # as long as the attacks will take
    with measured_growth(server.pid) as growth_beside, other_clients(server.url, "beside") as (beside, accepted):
        attack(server, seconds, requests, answers)

    unexpected = print_answers(answers)
    print(f"answers other than 4xx and closed connections: {sorted(unexpected) or 'none'}")
    growth_mib = growth_beside[0] - growth_alone[0]
    print(
        f"memory: at the peak {growth_beside[0]:.0f} MiB more, {growth_alone[0]:.0f} MiB of it by the uploads alone "
        f"(promised: at most {MAX_GROWTH_MIB} by the attacks)"
    )
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        print(f"other clients, {name}: {percentile_ms(alone, share):.1f} ms alone ({len(alone)}), ", end="")
        print(f"{percentile_ms(beside, share):.1f} ms beside ({len(beside)})")
    slowdown = percentile_ms(beside, 0.99) / percentile_ms(alone, 0.99)
    print(f"other clients were answered {dict(accepted)}; ", end="")
    print(f"p99 times {slowdown:.2f} (promised: less than {MAX_SLOWDOWN:g})")
    is_fast = slowdown < MAX_SLOWDOWN and set(accepted) == {"202"}
    return not unexpected and growth_mib <= MAX_GROWTH_MIB and is_fast


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=30)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack and measure."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"sqlite:///{folder}/relumine.db")
        server.start()
        try:
            is_good = measure(server, options.seconds)
        finally:
            server.kill()
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
