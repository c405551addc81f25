"""Cost of a step that is not sampled, on a training so small that microseconds show.

    python -m benchmarks.overhead.unsampled_step [--rounds 400] [--steps 90]

Two layers of one unit, in three arms that take turns in one process: bare, watched and sampled every thousandth step,
bare again. In nine rounds of ten no step is sampled, and the median is of those. Printed is the median over rounds of
the difference to the bare arm, with the quartiles, in main-thread CPU time. The second bare arm shows the noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

import relumine
from relumine.testing import InMemoryTransport

RARELY = 1_000
WARM_STEPS = 200
LIMIT_US = 5.0


def training(*, is_watched: bool) -> Callable[[int], float]:
    """Return a function that makes steps, and returns the microseconds of each."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.zeros(1, 1)
    if is_watched:
        relumine.watch(model, optimizer, every=RARELY)

    def run(steps: int) -> float:
        start = time.thread_time()
        for _ in range(steps):
            model(x).sum().backward()
            optimizer.step()
        return 1e6 * (time.thread_time() - start) / steps

    run(WARM_STEPS)
    return run


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=400)
    options.add_argument("--steps", type=int, default=90)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    with InMemoryTransport():
        bare = training(is_watched=False)
        arms = {"bare again": training(is_watched=False), "not sampled": training(is_watched=True)}
        differences: dict[str, list[float]] = {name: [] for name in arms}
        bare_us = []
        for _ in range(options.rounds):
            reference = bare(options.steps)
            bare_us.append(reference)
            for name, run in arms.items():
                differences[name].append(run(options.steps) - reference)
    print(f"bare step {statistics.median(bare_us):.1f} µs; promised of a step that is not sampled: {LIMIT_US:g} µs")
    for name, values in differences.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"  {name:<12} {median:+6.2f} µs  ({low:+.2f} … {high:+.2f})")


if __name__ == "__main__":
    main()
