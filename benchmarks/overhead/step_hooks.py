"""Cost of the parts of a step that is not sampled, each timed where it runs: in a training, with cold caches.

    python -m benchmarks.overhead.step_hooks [--workloads W1] [--steps 7000]

After each optimizer step one part is timed, another one at the next step, and so on, so that none warms the caches for
another. "two clock readings" is what the timing itself costs; it is subtracted from the others. "an empty hook" is
the least that any hook costs, "counts" and "reads the learning rates" the least that has to be done. The hook of the
SDK follows, as ``watch`` registers it. "all of a step" is the work at steps that the hook does not count alone, at
least every hundredth: without sampling, which comes on top.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

import relumine
from benchmarks.overhead.workloads import WORKLOADS
from relumine._torch.step_hook import Hook
from relumine.testing import InMemoryTransport

RARELY = 10**9
WARM_STEPS = 100
CLOCK = "two clock readings"
OURS = "hook of the SDK"


def floors() -> dict[str, Hook]:
    """Return hooks that do what has to be done at the least, by what they do."""
    steps = 0
    highest_lr = 0.0

    def empty(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        return

    def counts(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        nonlocal steps
        steps += 1

    def reads(optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        nonlocal steps, highest_lr
        steps += 1
        for group in optimizer.param_groups:
            highest_lr = max(highest_lr, group["lr"])

    return {"an empty hook": empty, "a hook that counts": counts, "… and reads the learning rates": reads}


class TimedParts:
    """A hook that times one part after each step, in turn, and then does what the SDK's own hooks do."""

    def __init__(self, optimizer: Optimizer, monitor: relumine.Monitor) -> None:
        self.ns: dict[str, list[int]] = {}
        # Torch has no public way to its hooks.
        post_hooks = sys.modules["torch.optim.optimizer"]._global_optimizer_post_hooks  # noqa: SLF001 - see above
        self._own = _take(post_hooks)
        self._count = monitor._session.loop.step_counter.count  # noqa: SLF001 - the benchmark looks inside
        self._parts: list[tuple[str, Hook | None]] = [(CLOCK, None), *floors().items()]
        self._parts += [(OURS, self._own), ("all of a step", self._own)]
        self._steps = 0
        optimizer.register_step_post_hook(self)

    def __call__(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Time the part whose turn it is."""
        name, part = self._parts[self._steps % len(self._parts)]
        self._steps += 1
        if name == "all of a step":
            self._count.next_call = 0
        clock = time.perf_counter_ns
        started = clock()
        if part is not None:
            part(optimizer, args, kwargs)
        elapsed = clock() - started
        self.ns.setdefault(name, []).append(elapsed)
        if part is not self._own:
            self._own(optimizer, args, kwargs)


def _take(hooks: dict[int, Hook]) -> Hook:
    """Remove the only hook and return it."""
    ((key, hook),) = hooks.items()
    hooks.pop(key)
    return hook


def measure(workload_name: str, steps: int) -> dict[str, list[float]]:
    """Return the microseconds of each part, at the steps at which it was timed."""
    workload = WORKLOADS[workload_name]
    torch.manual_seed(0)
    model = workload.build()
    x = torch.randn(*workload.shape)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    with InMemoryTransport(), relumine.watch(model, optimizer, every=RARELY) as monitor:
        train(WARM_STEPS)
        parts = TimedParts(optimizer, monitor)
        train(steps)
    clock_ns = statistics.median(parts.ns[CLOCK])
    return {name: [(ns - clock_ns * (name != CLOCK)) / 1e3 for ns in values] for name, values in parts.ns.items()}


def print_table(workload_name: str, costs: dict[str, list[float]]) -> None:
    """Print medians and quartiles."""
    print(f"\n{workload_name} {WORKLOADS[workload_name].title}")
    medians = {}
    for name, values in costs.items():
        low, medians[name], high = statistics.quantiles(values, n=4)
        print(f"  {name:<32} {medians[name]:6.2f} µs  ({low:.2f} … {high:.2f})")
    print(f"  hook of the SDK / an empty hook  {medians[OURS] / medians['an empty hook']:6.2f}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workloads", nargs="+", choices=tuple(WORKLOADS), default=["W1"])
    options.add_argument("--steps", type=int, default=7_000)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    for workload_name in options.workloads:
        print_table(workload_name, measure(workload_name, options.steps))


if __name__ == "__main__":
    main()
