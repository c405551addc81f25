"""What the detector costs: CPU time of ``onset.advance`` per layer and record, and bytes of state per unit.

    python benchmarks/detection/cost.py [--rounds N]        (or: python benchmarks/detection --cost)

Layers of four widths, alone and many together, as uploads of ten looks on a state that is past its warm-up. Each
upload is a table that was never read, so that making its rows is counted too; so is the run's own record of each
look. Rounds over all of them are interleaved, in another order each; printed are the median, the least and the most
of the rounds, and the line through the medians. Nothing is found in these runs: findings are rare, and cost more.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from simulated import Look, Simulation

from relumine.table import RecordTable
from relumine_server.detection import onset
from relumine_server.detection import state as st
from relumine_server.detection.policy import Policy

WIDTHS = (64, 128, 512, 2048)
TOGETHER = (1, 16, 49)
LOOKS = 10
"""In an upload."""
WARM_LOOKS = 30
LEAST_RECORDS = 500
"""Folded per round and workload: below that a clock's grain would show."""
TARGET_US, TARGET_UNITS, TARGET_BYTES = 150, 512, 32
POLICY = Policy()


@dataclass(frozen=True)
class Workload:
    """An upload, and the state that it comes to."""

    layers: int
    units: int
    state: st.DetectorState
    upload: RecordTable

    def cpu_us(self) -> float:
        """Per layer and record."""
        times = max(1, LEAST_RECORDS // (self.layers * LOOKS))
        tables = [replace(self.upload) for _ in range(times)]  # no copy: the same arrays, not read yet
        began = time.thread_time_ns()
        for table in tables:
            onset.advance(self.state, table, POLICY)
        return (time.thread_time_ns() - began) / 1e3 / (times * self.layers * LOOKS)


def main() -> None:
    """Measure, then print times and sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    workloads = [_workload(layers, units) for layers in TOGETHER for units in WIDTHS]
    taken: dict[tuple[int, int], list[float]] = {(load.layers, load.units): [] for load in workloads}
    for turn in range(-1, rounds):  # the first round warms up and is not counted
        for load in random.Random(turn).sample(workloads, len(workloads)):
            spent = load.cpu_us()
            if turn >= 0:
                taken[load.layers, load.units].append(spent)
    _print_times(taken)
    _print_sizes(workloads)


def _workload(layers: int, units: int) -> Workload:
    rates = np.random.default_rng(0).uniform(0.05, 0.8, (layers, units))
    simulation = Simulation(rates, Look(), seed=0)
    state = st.describe(st.empty(), simulation.layers)
    for _ in range(WARM_LOOKS):
        state, _readings, _findings = onset.advance(state, simulation.look(), POLICY)
    return Workload(layers, units, state, joined([simulation.look() for _ in range(LOOKS)]))


def joined(tables: list[RecordTable]) -> RecordTable:
    """One table of all their records."""
    first = tables[0]
    return RecordTable(
        {name: np.concatenate([table.scalars[name] for table in tables]) for name in first.scalars},
        np.concatenate([table.units for table in tables]),
        np.concatenate([table.present for table in tables]),
        {name: np.concatenate([table.columns[name] for table in tables]) for name in first.columns},
        tuple(rates for table in tables for rates in table.learning_rates),
    )


def _print_times(taken: dict[tuple[int, int], list[float]]) -> None:
    print("CPU time per layer and record, µs: median (least – most)")
    print("layers together" + "".join(f"{f'{units} units':>22s}" for units in WIDTHS) + "   line through the medians")
    for layers in TOGETHER:
        own = [taken[layers, units] for units in WIDTHS]
        slope, base = np.polyfit(WIDTHS, [median(values) for values in own], 1).tolist()
        cells = "".join(f"{f'{median(values):.1f} ({min(values):.1f} – {max(values):.1f})':>22s}" for values in own)
        print(f"{layers:15d}{cells}   {base:.1f} + {slope:.4f} × units")
    typical = {layers: median(taken[layers, TARGET_UNITS]) for layers in TOGETHER}
    told = (f"{layers} together {value:.1f}, {_verdict(value <= TARGET_US)}" for layers, value in typical.items())
    print(f"target at {TARGET_UNITS} units, at most {TARGET_US} µs: {'; '.join(told)}")


def _print_sizes(workloads: list[Workload]) -> None:
    print("\nbytes of state per unit: all of it as stored (the units' numbers alone)")
    print("layers together" + "".join(f"{f'{units} units':>22s}" for units in WIDTHS))
    for layers in TOGETHER:
        print(f"{layers:15d}" + "".join(f"{cell:>22s}" for cell in _sizes(workloads, layers)))
    most = max(load.state.units.nbytes / (load.layers * load.units) for load in workloads)
    print(
        f"target: at most {TARGET_BYTES} a unit, {_verdict(most <= TARGET_BYTES)} for the units' numbers ({most:.1f})"
    )


def _sizes(workloads: list[Workload], layers: int) -> Iterator[str]:
    for load in workloads:
        if load.layers == layers:
            units = load.layers * load.units
            yield f"{len(st.to_bytes(load.state)) / units:.1f} ({load.state.units.nbytes / units:.1f})"


def _verdict(met: bool) -> str:  # noqa: FBT001 - a fact to be worded
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
