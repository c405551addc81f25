"""The cost of watching per training step: main-thread CPU time, interleaved with the bare training, in one process.

    pip install -e '.[server,dev]'
    python -m benchmarks.overhead.step_time [--workloads W1 W3] [--rounds 40] [--steps N] [--without-others]

Every round times each arm for some steps, one after the other. Printed is the median over rounds of the difference to
the bare arm in that round, with the quartiles. A second bare arm (A/A) shows the noise: a difference inside the
quartiles of A/A is "not shown". The free second of sampling that every run has is used up beforehand. "every step"
samples each step: all units, shifts and silences each time, weight norms and the spread of the output every seventh.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import relumine
from benchmarks.overhead.comparison import TOOLS, attach, check_installed
from benchmarks.overhead.transport import DiscardingTransport
from benchmarks.overhead.workloads import WORKLOADS, Workload, read_us
from relumine._monitor.sampling import FREE_SECONDS

WARM_UP_ROUNDS = 4
INTERVALS = {"never sampled": 10**9, "default": None, "every step": 1}


class Arm:
    """One model in training: watched by Relumine, by another tool, or not at all."""

    def __init__(self, workload: Workload, name: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = workload.build()
        self.x = torch.randn(*workload.shape)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.monitor: relumine.Monitor | None = None
        self.after_step = attach(name, self.model, folder) if name in TOOLS else None
        self.steps = 0
        self.paused_at = time.perf_counter()
        if name in INTERVALS:
            self.monitor = relumine.watch(self.model, self.optimizer, every=INTERVALS[name])
            _use_up_free_seconds(self.monitor)

    def run(self, steps: int) -> float:
        """Train some steps; return microseconds of the main thread's CPU per step."""
        if self.monitor is not None:
            _exclude_pause(self.monitor, time.perf_counter() - self.paused_at)
        start = time.thread_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(self.x).square().mean().backward()
            self.optimizer.step()
            if self.after_step is not None:
                self.after_step(self.steps)
            self.steps += 1
        self.paused_at = time.perf_counter()
        return (time.thread_time() - start) / steps * 1e6


# The sampling budget of one arm must not see the time of the others. A real training has no such pauses, so the SDK has
# no public way to leave them out.


def _use_up_free_seconds(monitor: relumine.Monitor) -> None:
    monitor._session.overhead.training_s = FREE_SECONDS  # noqa: SLF001 - see above


def _exclude_pause(monitor: relumine.Monitor, seconds: float) -> None:
    monitor._session.loop._started += seconds  # noqa: SLF001 - see above


def measure(workload_name: str, rounds: int, steps: int | None, names: Sequence[str]) -> None:
    """Measure the arms of these names on one workload and print its table."""
    workload = WORKLOADS[workload_name]
    if steps is not None:
        workload = workload._replace(steps=steps)
    costs: dict[str, list[float]] = {name: [] for name in names}
    with DiscardingTransport(), tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        arms = {name: Arm(workload, name, Path(folder, name)) for name in names}
        gc.collect()
        for round_number in range(rounds + WARM_UP_ROUNDS):
            for name, arm in arms.items():
                # The other tools take long enough to be timed half as often: in odd rounds their last cost counts
                # again.
                if name in TOOLS and round_number % 2 and costs[name]:
                    cost = costs[name][-1]
                else:
                    cost = arm.run(workload.steps)
                if round_number >= WARM_UP_ROUNDS:
                    costs[name].append(cost)
        for arm in arms.values():
            if arm.monitor is not None:
                arm.monitor.close()
    print_table(workload_name, workload, costs)
    print_own_account(arms["every step"])


def print_table(workload_name: str, workload: Workload, costs: dict[str, list[float]]) -> None:
    """Print the quartiles of paired differences, and the ratios of other tools to ours."""
    bare_us = statistics.median(costs["bare"])
    print(f"\n{workload_name} {workload.title}: bare {bare_us:,.0f} µs, ", end="")
    print(f"reading its pre-activations once {read_us(workload):,.0f} µs")
    print(f"  {'arm':<16} {'µs per step':>12} {'quartiles':>22} {'of bare':>9}")
    differences = {}
    for name, values in costs.items():
        if name != "bare":
            paired = [cost - bare for cost, bare in zip(values, costs["bare"], strict=True)]
            differences[name] = statistics.quantiles(paired, n=4)
    noise = max(abs(differences["bare again"][0]), abs(differences["bare again"][2]))
    for name, (low, middle, high) in differences.items():
        is_shown = abs(middle) > noise or name == "bare again"
        quartiles = f"{low:+,.1f} … {high:+,.1f}"
        print(f"  {name:<16} {middle:>+12,.1f} {quartiles:>22} {100 * middle / bare_us:>+8.2f}%", end="")
        print("" if is_shown else "  not shown")
    ours = max(differences["every step"][1], noise)
    for tool in TOOLS:
        if tool in differences:
            bound = "" if ours > noise else "at least "
            print(f"  {tool} costs {bound}{differences[tool][1] / ours:,.1f} times our every step")


def print_own_account(arm: Arm) -> None:
    """Print what the SDK measured itself: time per sampled step and bytes sent."""
    if arm.monitor is None:
        raise ValueError("this arm is not watched")
    stats = arm.monitor.sdk_stats()
    units = sum(row["units"] for row in arm.monitor.coverage().values())
    sampled_steps = stats["sampled_steps"]
    us_per_step = 1e6 * (stats["overhead_s"] - FREE_SECONDS) / sampled_steps
    bytes_per_unit = stats["upload_bytes"] / (sampled_steps - stats["merged_steps"]) / units
    print(f"  by the SDK's own account {us_per_step:,.0f} µs per sampled step, both threads; ", end="")
    print(f"{bytes_per_unit:.1f} bytes per unit and record ({units:,} units)")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--steps", type=int, help="steps that are timed at once; default: of the workload")
    options.add_argument("--workloads", nargs="+", choices=tuple(WORKLOADS), default=list(WORKLOADS))
    options.add_argument(
        "--without-others", action="store_true", help="leave out wandb, TensorBoard and the naive hook"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all workloads."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    names = ["bare", "bare again", *INTERVALS]
    if not options.without_others:
        check_installed()
        names += TOOLS
    for workload_name in options.workloads:
        measure(workload_name, options.rounds, options.steps, names)


if __name__ == "__main__":
    main()
