"""Train small healthy nets for very many short steps, and print whether they were watched to the end.

    python -m benchmarks.overhead.long_runs [--runs N] [--steps N]

On steps this short every sampled step costs more than the budget allows: the interval grows to its limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

import relumine
from relumine.testing import InMemoryTransport


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=10)
    options.add_argument("--steps", type=int, default=100_000)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one run after the other."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    print("run  µs/step  sampled  largest gap  last sampled  times unwatched  overhead  health")
    for seed in range(options.runs):
        print(_row_of(seed, options.steps), flush=True)


def _row_of(seed: int, steps: int) -> str:
    with InMemoryTransport() as memory:
        started = time.perf_counter()
        monitor = _train(seed, steps)
        step_us = (time.perf_counter() - started) / steps * 1e6
        sampled = sorted({record.step for record in memory.records() if record.layer_id})
        gaps = np.diff([*sampled, steps])
        unwatched = sum(upload.watching is not None and upload.watching.reason is not None for upload in memory.uploads)
    stats = monitor.sdk_stats()
    return (
        f"{seed:3d}  {step_us:7.0f}  {stats['sampled_steps']:7,d}  {gaps.max():11d}  {sampled[-1]:12,d}"
        f"  {unwatched:15d}  {stats['overhead_fraction']:8.1%}  {monitor.health().status}"
    )


def _train(seed: int, steps: int) -> relumine.Monitor:
    """Train a net of two small layers on noise around a linear rule."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(512, 8)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(512, 1)
    with relumine.watch(model, optimizer, name=f"long {seed}") as monitor:
        for step in range(steps):
            rows = slice(16 * (step % 32), 16 * (step % 32) + 16)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
    return monitor


if __name__ == "__main__":
    main()
