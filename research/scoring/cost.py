"""The cost of the detector: CPU time of ``detector.advance`` per layer and record, and bytes of state per unit.

    python -m research.scoring.cost [--rounds N] [--layers 1 16 49] [--units 64 128 512 2048]

Layers of four widths, alone and many together, as uploads of ten sampled steps on a state past its warm-up. Each upload
is a table that was never read, so that making its rows is counted; so is the run's own record of each step. Rounds over
all of them are interleaved, each in another order; printed are the median, the least and the most of the rounds, and
the line through the medians. These runs have no findings, which are rare and cost more.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeAlias

import numpy as np

from relumine.schemas.record_table import RecordTable
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from research.scoring.simulated import Sampling, Simulation

UNITS = (64, 128, 512, 2048)
LAYERS = (1, 16, 49)
STEPS_PER_UPLOAD = 10
WARM_UP_STEPS = 30
MIN_RECORDS = 500
"""Records per round and workload: fewer would be below the resolution of the clock."""
GOAL_US = 150
GOAL_UNITS = 512
GOAL_BYTES = 32
POLICY = Policy()

Costs: TypeAlias = dict[tuple[int, int], list[float]]
"""Microseconds of each round by (layers, units)."""


@dataclass(frozen=True)
class Workload:
    """An upload, and the state it arrives at."""

    layers: int
    units: int
    state: detection_state.DetectorState
    upload: RecordTable

    def cpu_us(self) -> float:
        """Return the microseconds per layer and record."""
        repeats = max(1, MIN_RECORDS // (self.layers * STEPS_PER_UPLOAD))
        tables = [replace(self.upload) for _ in range(repeats)]  # no copy: the same arrays, not read yet
        start = time.thread_time_ns()
        for table in tables:
            detector.advance(self.state, table, POLICY)
        return (time.thread_time_ns() - start) / 1e3 / (repeats * self.layers * STEPS_PER_UPLOAD)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--layers", type=int, nargs="+", default=list(LAYERS), help="layers together")
    options.add_argument("--units", type=int, nargs="+", default=list(UNITS), help="widths, at least two")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print times and sizes."""
    options = parser().parse_args(arguments)
    workloads = [_workload(layers, units) for layers in options.layers for units in options.units]
    costs: Costs = {(load.layers, load.units): [] for load in workloads}
    for round_number in range(-1, options.rounds):  # the first round warms up and is not counted
        for load in random.Random(round_number).sample(workloads, len(workloads)):
            cost = load.cpu_us()
            if round_number >= 0:
                costs[load.layers, load.units].append(cost)
    _print_times(costs, options.layers, options.units)
    _print_sizes(workloads, options.layers, options.units)


def _workload(layers: int, units: int) -> Workload:
    rates = np.random.default_rng(0).uniform(0.05, 0.8, (layers, units))
    simulation = Simulation(rates, Sampling(), seed=0)
    state = detection_state.describe(detection_state.empty(), simulation.layers)
    for _ in range(WARM_UP_STEPS):
        state, _readings, _findings = detector.advance(state, simulation.next_records(), POLICY)
    upload = concatenate([simulation.next_records() for _ in range(STEPS_PER_UPLOAD)])
    return Workload(layers, units, state, upload)


def concatenate(tables: list[RecordTable]) -> RecordTable:
    """Return one table of all records."""
    first = tables[0]
    return RecordTable(
        {name: np.concatenate([table.scalars[name] for table in tables]) for name in first.scalars},
        np.concatenate([table.units for table in tables]),
        np.concatenate([table.present for table in tables]),
        {name: np.concatenate([table.columns[name] for table in tables]) for name in first.columns},
        tuple(rates for table in tables for rates in table.learning_rates),
    )


def _print_times(costs: Costs, layer_counts: Sequence[int], unit_counts: Sequence[int]) -> None:
    print("CPU time per layer and record, µs: median (least – most)")
    print("layers together" + _heads(unit_counts) + "   line through the medians")
    for layers in layer_counts:
        cells = []
        medians = []
        for units in unit_counts:
            rounds = costs[layers, units]
            cells.append(f"{median(rounds):.1f} ({min(rounds):.1f} – {max(rounds):.1f})")
            medians.append(median(rounds))
        slope, base = np.polyfit(unit_counts, medians, 1).tolist()
        print(f"{layers:15d}" + "".join(f"{cell:>22s}" for cell in cells) + f"   {base:.1f} + {slope:.4f} × units")
    if GOAL_UNITS in unit_counts:
        verdicts = []
        for layers in layer_counts:
            cost = median(costs[layers, GOAL_UNITS])
            verdicts.append(f"{layers} together {cost:.1f}, {_verdict(is_met=cost <= GOAL_US)}")
        print(f"goal at {GOAL_UNITS} units, at most {GOAL_US} µs: {'; '.join(verdicts)}")


def _print_sizes(workloads: list[Workload], layer_counts: Sequence[int], unit_counts: Sequence[int]) -> None:
    print("\nbytes of state per unit: all of it as stored (the units' numbers alone)")
    print("layers together" + _heads(unit_counts))
    largest = 0.0
    for layers in layer_counts:
        cells = []
        for load in workloads:
            if load.layers == layers:
                units = load.layers * load.units
                numbers = load.state.units.nbytes / units
                largest = max(largest, numbers)
                cells.append(f"{len(detection_state.to_bytes(load.state)) / units:.1f} ({numbers:.1f})")
        print(f"{layers:15d}" + "".join(f"{cell:>22s}" for cell in cells))
    verdict = _verdict(is_met=largest <= GOAL_BYTES)
    print(f"goal: at most {GOAL_BYTES} a unit, {verdict} for the units' numbers ({largest:.1f})")


def _heads(unit_counts: Sequence[int]) -> str:
    return "".join(f"{f'{units} units':>22s}" for units in unit_counts)


def _verdict(*, is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    main()
