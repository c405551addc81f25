"""What watching keeps in memory: at once, per unit, and over 100,000 steps.

    python benchmarks/overhead/memory.py [--steps 100000]

Two processes train the same network, one of them watched at every step; reported is the resident memory of each along
the way (after a collection and malloc_trim), and what the watched one has more.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import relumine
from relumine.testing import MemoryTransport
from relumine.views import Accepted

WIDTH, LAYERS = 2048, 4


class Sink(MemoryTransport):
    """Accepts and forgets."""

    def post(self, body: bytes) -> Accepted:
        """Accept."""
        return Accepted(accepted=len(body), duplicate=False, every=None, alerts=[])


def resident_kib() -> int:
    """Resident memory of this process after what is free was given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def train(steps: int, *, watched: bool, width: int) -> None:
    """Print the resident memory at ten places."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x = torch.randn(2, width)
    with Sink():
        options = {"every": 1} if watched else {"mode": "disabled"}
        monitor = relumine.watch(model, optimizer, **options)  # type: ignore[arg-type]
        for step in range(1, steps + 1):
            model(x).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % max(1, steps // 10) == 0:
                monitor.flush(60)
                print(step, resident_kib(), flush=True)


def report(title: str, steps: int, width: int) -> None:
    """Both processes, one after the other."""
    taken = {}
    for arm in ("bare", "watched"):
        command = [sys.executable, __file__, "--arm", arm, "--steps", str(steps), "--width", str(width)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        taken[arm] = [int(value) for value in lines[1::2]]
    more = [b - a for a, b in zip(taken["bare"], taken["watched"], strict=True)]
    print(f"{title}: {steps:,} steps, {LAYERS * width:,} units, KiB more than bare along the way: {more}")
    growth = taken["watched"][-1] - taken["watched"][1]
    print(f"  growth of the watched process from 20 % to 100 % of the steps: {growth:+,} KiB", flush=True)


def main() -> None:
    """Measure a narrow network for long and a wide one for a while."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--arm", choices=["bare", "watched"])
    options = parser.parse_args()
    if options.arm:
        train(options.steps, watched=options.arm == "watched", width=options.width)
        return
    report("narrow, every step", options.steps, 32)
    report("wide, every step", 200, WIDTH)


if __name__ == "__main__":
    main()
