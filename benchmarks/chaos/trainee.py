"""A small real training that the rigs disturb, kill and count. Prints what it did as JSON lines."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import relumine


def resident_kib() -> int:
    """Resident memory of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)


def end(how: str) -> None:
    """Leave in one of the ways a training leaves."""
    if how == "sys.exit":
        sys.exit(0)
    if how == "exception":
        raise RuntimeError("the training failed")
    if how in ("SIGINT", "SIGTERM", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(5)  # the signal ends the process here, before the script ends by itself
    if how == "os._exit":
        os._exit(0)


def main() -> None:
    """Train, report, leave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="")
    parser.add_argument("--mode", default="online")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--end", default="close")
    parser.add_argument("--run", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    url = options.url or None
    monitor = relumine.watch(model, optimizer, every=1, url=url, mode=options.mode, run_id=options.run)
    digest, began = hashlib.sha256(), time.thread_time()
    before = 0
    for step in range(options.steps):
        loss = model(torch.randn(64, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        digest.update(repr(loss.item()).encode())
        before = resident_kib() if step == options.steps // 10 else before
        time.sleep(options.pause)  # stands for the time a larger step takes
    said: dict[str, Any] = {"run": monitor.run_id, "losses": digest.hexdigest()[:16], "ended_at": time.time()}
    said |= {"step_us": (time.thread_time() - began) / options.steps * 1e6, "growth_kib": resident_kib() - before}
    said["stats"] = monitor.sdk_stats()
    print(json.dumps(said), flush=True)
    if options.end == "close":
        monitor.close()
        print(json.dumps({"stats": monitor.sdk_stats()}), flush=True)
    end(options.end)


main()
