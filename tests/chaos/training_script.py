"""A small real training that the rigs disturb, kill and count. Prints its results as JSON lines."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import relumine

WAYS_TO_END = ("close", "return", "sys.exit", "exception", "SIGINT", "SIGTERM", "os._exit", "SIGKILL")


def resident_kib() -> int:
    """Return the resident memory of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)


def end(way: str) -> None:
    """End the process in one of the ways a training ends; ``close`` and ``return`` just return."""
    if way == "sys.exit":
        sys.exit(0)
    if way == "exception":
        raise RuntimeError("the training failed")
    if way in ("SIGINT", "SIGTERM", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, way))
        time.sleep(5)  # the signal ends the process here, before the script ends by itself
    if way == "os._exit":
        os._exit(0)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, pause_s: float) -> dict[str, Any]:
    """Train; return a hash of the losses, the moment of the end, the cost of a step and the growth of memory."""
    digest = hashlib.sha256()
    memory_at_tenth_kib = 0
    start = time.thread_time()
    for step in range(steps):
        loss = model(torch.randn(64, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        digest.update(repr(loss.item()).encode())
        if step == steps // 10:
            memory_at_tenth_kib = resident_kib()
        time.sleep(pause_s)  # in place of the time that a larger step takes
    return {
        "losses": digest.hexdigest()[:16],
        "ended_at": time.time(),
        "step_us": (time.thread_time() - start) / steps * 1e6,
        "growth_kib": resident_kib() - memory_at_tenth_kib,
    }


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url")
    options.add_argument("--mode", default="online")
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--pause", type=float, default=0.0, help="seconds between two steps")
    options.add_argument("--end", default="close", choices=WAYS_TO_END)
    options.add_argument("--run", help="id of the run")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, report, end."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = relumine.watch(model, optimizer, every=1, url=options.url, mode=options.mode, run_id=options.run)
    results = train(model, optimizer, options.steps, options.pause)
    print(json.dumps({"run": monitor.run_id, **results, "stats": monitor.sdk_stats()}), flush=True)
    if options.end == "close":
        monitor.close()
        print(json.dumps({"stats": monitor.sdk_stats()}), flush=True)
    end(options.end)


if __name__ == "__main__":
    main()
