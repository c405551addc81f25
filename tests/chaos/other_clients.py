"""Clients that upload as usual beside an attack, and what the attack costs: their latency and the server's memory."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.chaos.server_kills import upload_body

CLIENTS = 4
UPLOAD_PAUSE_S = 0.05


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
