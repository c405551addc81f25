"""Trainings of other frameworks, watched: are they unchanged, and is every ReLU of theirs counted right?

    python -m benchmarks.frameworks.compare [--only TEXT] [--list]

Each training runs four times from the same seeds: unwatched, watched at every step, watched with the defaults, and with
an independent count of its active units below autograd. Printed is whether parameters, buffers, losses and random
generators end bit-identical in all of them, the layers recorded of the ReLU sites that were counted, whether every unit
of every layer was counted equally, the steps counted of the real ones, internal errors, and the health at the end.
Frameworks that are not installed are skipped: pip install those whose trainings you want to see.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

import torch

from benchmarks.frameworks.arms import BareArm, CountedArm, EndState, WatchedArm, run
from benchmarks.frameworks.catalog import CATALOG, Entry
from benchmarks.frameworks.relu_counts import ActiveCounts, ReluCounts, Site

HEADER = "| training | versions | bit-identical | layers / ReLU sites | counts equal | steps | errors | health | why |"


class Outcome(NamedTuple):
    """One line of the table: yes or no, the numbers behind it, and the reasons for whatever is not yes."""

    identical: bool
    layers: int
    sites: int
    counts_equal: bool
    steps: str
    errors: int
    health: str
    reasons: list[str]

    @property
    def cells(self) -> list[str]:
        """The cells of the line, after title and versions."""
        counts = "yes" if self.counts_equal else "no"
        cells = ["yes" if self.identical else "no", f"{self.layers} / {self.sites}", counts, self.steps]
        return [*cells, str(self.errors), self.health, "; ".join(self.reasons)]


def compare(entry: Entry) -> Outcome:
    """Run one training in all arms and compare them."""
    module, _, function = entry.function.partition(":")
    training = getattr(importlib.import_module(f"benchmarks.frameworks.trainings.{module}"), function)
    bare = run(training, BareArm())
    counted_arm = CountedArm()
    counted = run(training, counted_arm)
    watched = {1: WatchedArm(every=1), None: WatchedArm(every=None)}
    states = {every: run(training, arm) for every, arm in watched.items()}
    if counted_arm.counter is None:
        raise RuntimeError("the training never called observe")
    counts = counted_arm.counter.counts
    differences = _differences(bare, counted, states)
    every_step = watched[1]
    steps, step_reasons = _steps(bare, every_step, watched[None])
    unequal = _unequal(counts, every_step)
    errors = [str(arm.stats["last_error"]) for arm in watched.values() if arm.stats["errors"]]
    missing = [f"{name}: {row['missing'][0]}" for name, row in every_step.coverage.items() if row["observed"] == "not"]
    return Outcome(
        identical=not differences,
        layers=every_step.layers,
        sites=counts.most_calls.total(),
        counts_equal=not unequal,
        steps=steps,
        errors=sum(arm.stats["errors"] for arm in watched.values()),
        health=_health(every_step, watched[None]),
        reasons=[*differences, *unequal, *step_reasons, *errors, *missing],
    )


def _differences(bare: EndState, counted: EndState, states: dict[int | None, EndState]) -> list[str]:
    own = bare.difference(counted)
    if own is not None:
        return [f"not reproducible by itself: {own}"]
    reasons = []
    for every, state in states.items():
        difference = bare.difference(state)
        if difference is not None:
            reasons.append(f"watched with every={every}: {difference}")
    return reasons


def _steps(bare: EndState, *arms: WatchedArm) -> tuple[str, list[str]]:
    counted = sorted({arm.stats["steps"] for arm in arms})
    text = f"{' and '.join(map(str, counted))} of {bare.steps}"
    return text, [] if counted == [bare.steps] else ["steps differ"]


def _health(*arms: WatchedArm) -> str:
    return " and ".join(dict.fromkeys(arm.health for arm in arms))


def _unequal(counts: ReluCounts, arm: WatchedArm) -> list[str]:
    """Return the sites whose units were not counted equally, in words."""
    sites = [*counts.active, *(site for site in arm.active if site not in counts.active)]
    unequal = [site for site in sites if not _is_equal(counts.active.get(site), arm.active.get(site))]
    return [_describe(site, counts.active.get(site), arm.active.get(site)) for site in unequal[:2]]


def _is_equal(counted: ActiveCounts | None, recorded: ActiveCounts | None) -> bool:
    if counted is None or recorded is None:
        return False
    return torch.equal(counted.positions, recorded.positions) and torch.equal(counted.examples, recorded.examples)


def _describe(site: Site, counted: ActiveCounts | None, recorded: ActiveCounts | None) -> str:
    totals = []
    for counts in (counted, recorded):
        totals.append("none" if counts is None else f"{int(counts.positions.sum())}/{int(counts.examples.sum())}")
    return f"{site[0]} ({site[1]} units): {totals[0]} counted, {totals[1]} recorded"


def print_line(entry: Entry) -> None:
    """Print the line of one training."""
    missing = [package for package in entry.packages if not _version(package)]
    versions = ", ".join(f"{package} {_version(package)}" for package in entry.packages if package not in missing)
    if missing:
        cells = [f"not installed: {', '.join(missing)}", *[""] * 6]
    else:
        try:
            cells = compare(entry).cells
        except Exception as error:  # noqa: BLE001 - a training that fails gets a line, and the next one runs
            cells = [f"failed: {type(error).__name__}: {str(error)[:200]}", *[""] * 6]
    print(f"| {' | '.join([entry.title, versions, *cells])} |".replace("  ", " "), flush=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", metavar="TEXT", help="only trainings whose title contains this")
    options.add_argument("--list", action="store_true", help="print the titles and the packages they need")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per training."""
    options = parser().parse_args(arguments)
    entries = [entry for entry in CATALOG if options.only.lower() in entry.title.lower()]
    if options.list:
        for entry in entries:
            print(f"{entry.title:<50} {', '.join(entry.packages)}")
        return
    torch.set_num_threads(1)
    print(HEADER)
    print("|" + "---|" * HEADER.strip("|").count("|") + "---|")
    for entry in entries:
        print_line(entry)


if __name__ == "__main__":
    main()
