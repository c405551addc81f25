"""What watching costs a training step: main-thread CPU time, interleaved with the bare training, in one process.

    pip install -e '.[bench]'
    python benchmarks/overhead/steps.py [--only W1,W3] [--rounds 40] [--without-peers]

Every round times each arm for some steps, one after the other; reported is the median over rounds of the difference to
bare in that round, with the middle half. A second bare arm (A/A) shows the noise: a difference that lies inside the
middle half of A/A is "not shown". The grant of one second is spent beforehand. "every step" samples each step: all
units, shifts and silences each time, weight norms and the spread of the output every seventh.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import statistics
import tempfile
import time
from pathlib import Path

import torch
from peers import PEERS, attach
from workloads import WORKLOADS, Workload, floor_us

import relumine
from relumine.testing import MemoryTransport
from relumine.views import Accepted

WARM_ROUNDS = 4
OURS = {"never sampled": 10**9, "default": None, "every step": 1}


class Sink(MemoryTransport):
    """Takes uploads without looking at them: what a server does with them is not what a training pays for."""

    def post(self, body: bytes) -> Accepted:
        """Accept."""
        return Accepted(accepted=len(body), duplicate=False, every=None, alerts=[])


class Arm:
    """One model in training; watched by us, by a peer, or not."""

    def __init__(self, workload: Workload, name: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.model, self.x = workload.build(), torch.randn(*workload.shape)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.monitor: relumine.Monitor | None = None
        self.after = attach(name, self.model, folder) if name in PEERS else None
        self.steps, self.paused_at = 0, time.perf_counter()
        if name in OURS:
            self.monitor = relumine.watch(self.model, self.optimizer, every=OURS[name])
            self.monitor._engine.cost.spent_s = 1.0  # type: ignore[union-attr]  # noqa: SLF001 - the grant is spent

    def run(self, steps: int) -> float:
        """Train some steps; microseconds of the main thread's CPU per step."""
        if self.monitor is not None:  # the budget is a share of this arm's time, not of that of all arms
            self.monitor._engine._began += time.perf_counter() - self.paused_at  # type: ignore[union-attr]  # noqa: SLF001
        began = time.thread_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(self.x).square().mean().backward()
            self.optimizer.step()
            if self.after is not None:
                self.after(self.steps)
            self.steps += 1
        self.paused_at = time.perf_counter()
        return (time.thread_time() - began) / steps * 1e6


def measure(key: str, rounds: int, names: list[str]) -> None:
    """Print one table."""
    workload = WORKLOADS[key]
    taken: dict[str, list[float]] = {name: [] for name in names}
    with Sink(), tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        arms = {name: Arm(workload, name, Path(folder, name)) for name in names}
        gc.collect()
        for turn in range(rounds + WARM_ROUNDS):
            for name, arm in arms.items():
                slow = name in PEERS and turn % 2  # peers take long enough to be timed half as often
                cost = taken[name][-1] if slow and taken[name] else arm.run(workload.steps)
                if turn >= WARM_ROUNDS:
                    taken[name].append(cost)
        for arm in arms.values():
            if arm.monitor is not None:
                arm.monitor.close()
        stats = arms["every step"].monitor.sdk_stats()  # type: ignore[union-attr]
        units = sum(row["units"] for row in arms["every step"].monitor.coverage().values())  # type: ignore[union-attr]
    report(key, workload, taken)
    looks = stats["samples"]
    print(f"  self-timed {1e6 * (stats['spent_s'] - 1) / looks:,.0f} µs a look, both threads; ", end="")
    print(f"{stats['bytes'] / (looks - stats['merged']) / units:.1f} bytes a unit and record ({units:,} units)")


def report(key: str, workload: Workload, taken: dict[str, list[float]]) -> None:
    """Medians of paired differences, and ratios of peers to ours."""
    bare = statistics.median(taken["bare"])
    floor = floor_us(workload)
    print(f"\n{key} {workload.title}: bare {bare:,.0f} µs, one read of its pre-activations {floor:,.0f} µs")
    print(f"  {'arm':<16} {'µs per step':>12} {'middle half':>22} {'of bare':>9}")
    differences = {
        name: statistics.quantiles([a - b for a, b in zip(values, taken["bare"], strict=True)], n=4)
        for name, values in taken.items()
        if name != "bare"
    }
    noise = max(abs(differences["bare again"][0]), abs(differences["bare again"][2]))
    for name, (low, middle, high) in differences.items():
        shown = "" if abs(middle) > noise or name == "bare again" else "  not shown"
        half = f"{low:+,.1f} … {high:+,.1f}"
        print(f"  {name:<16} {middle:>+12,.1f} {half:>22} {100 * middle / bare:>+8.2f}%{shown}")
    ours = max(differences["every step"][1], noise)
    for peer in (name for name in PEERS if name in differences):
        bound = "" if ours > noise else "at least "
        print(f"  {peer} costs {bound}{differences[peer][1] / ours:,.1f} times our every step")


def main() -> None:
    """Measure all workloads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ["bare", "bare again", *OURS, *([] if options.without_peers else PEERS)]
    for key in options.only.split(","):
        measure(key, options.rounds, names)


if __name__ == "__main__":
    main()
