"""The memory that watching takes: at once, per unit, and over 100,000 steps.

    python -m benchmarks.overhead.memory [--steps 100000] [--wide-steps 200]

Two processes train the same network, one of them watched at every step. Printed is how much more resident memory the
watched one has along the way (after a garbage collection and malloc_trim).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

import relumine
from benchmarks.overhead.transport import DiscardingTransport
from relumine._capture.layer_recorder import BUFFERS_PER_LAYER
from relumine._capture.step_stats import SumRow
from relumine._export.aggregator import COLUMNS

ROOT = Path(__file__).parents[2]
NARROW = 32
WIDE = 2048
LAYERS = 4
FLOAT_BYTES = 4
POINTS = 10
"""Measurements along a training."""


def resident_kib() -> int:
    """Return the resident memory of this process after free memory was returned to the system."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS in /proc/self/status")


def train(steps: int, *, is_watched: bool, width: int) -> None:
    """Train, and print the resident memory at ten points."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x = torch.randn(2, width)
    with DiscardingTransport():
        if is_watched:
            monitor = relumine.watch(model, optimizer, every=1)
        else:
            monitor = relumine.watch(model, optimizer, mode="disabled")
        for step in range(1, steps + 1):
            model(x).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % max(1, steps // POINTS) == 0:
                monitor.flush(60)
                print(resident_kib(), flush=True)


def columns() -> int:
    """Return the bytes of a unit in the columns of the aggregator."""
    return FLOAT_BYTES * len(COLUMNS)


def buffers() -> int:
    """Return the bytes of a unit in the two buffers that every layer has."""
    return FLOAT_BYTES * len(SumRow) * BUFFERS_PER_LAYER


def report(title: str, steps: int, width: int) -> None:
    """Run both processes, one after the other, and print the difference."""
    memory: dict[str, list[int]] = {}
    for arm in ("bare", "watched"):
        command = [sys.executable, "-m", "benchmarks.overhead.memory"]
        command += ["--arm", arm, "--steps", str(steps), "--width", str(width)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True).stdout
        memory[arm] = [int(line) for line in output.splitlines() if line.isdigit()]
    differences = [watched - bare for bare, watched in zip(memory["bare"], memory["watched"], strict=True)]
    print(f"{title}: {steps:,} steps, {LAYERS * width:,} units, KiB more than bare along the way: {differences}")
    per_unit = 1024 * differences[-1] / (LAYERS * width)
    print(
        f"  {per_unit:,.0f} bytes per unit at the end, of which {columns()} for columns and {buffers()} for two buffers"
    )
    growth = memory["watched"][-1] - memory["watched"][1]
    print(f"  growth of the watched process from 20 % to 100 % of the steps: {growth:+,} KiB", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=100_000, help="of the narrow network, at least ten")
    options.add_argument(
        "--wide-steps", type=int, default=200, help="of the wide network, at least ten; 0: not measured"
    )
    options.add_argument("--arm", choices=["bare", "watched"], help="train in this process, and print its memory only")
    options.add_argument("--width", type=int, default=NARROW, help="of the network that --arm trains")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a narrow network over many steps and a wide one over a few."""
    options = parser().parse_args(arguments)
    if options.arm:
        train(options.steps, is_watched=options.arm == "watched", width=options.width)
        return
    report("narrow, every step", options.steps, NARROW)
    if options.wide_steps:
        report("wide, every step", options.wide_steps, WIDE)


if __name__ == "__main__":
    main()
