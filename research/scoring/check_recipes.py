"""The findings of ``relumine.check`` on each recipe before its first step: the model as built, its first batch.

    python -m research.scoring.check_recipes --split tune|heldout_fresh [--seeds N] [--only TEXT]
    python -m research.scoring.check_recipes --split heldout_1|heldout_2|heldout_3 --why REASON

A recipe is born dead if, before the first step, at least half of the units of a layer that are alive in its healthy
twin are silent on the entire training set. Flagged means that there are findings; missed and false ones are marked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import relumine
from research import cli
from research.corpus import faults, model_families
from research.corpus.catalogue import SPLITS, trainings, twin_of
from research.corpus.datasets import Dataset, load_dataset
from research.corpus.ground_truth import Flags, dead_units, measuring_copy
from research.corpus.loaders import batches
from research.corpus.recipe import Recipe
from research.scoring.holdout_log import HELD_OUT, log_access

BORN_DEAD = 0.5
"""Share of silent units from which a layer is born dead."""


class CheckedRecipe(NamedTuple):
    """A recipe: the ground truth, the kinds of findings, and the largest share of a layer that is silent."""

    recipe: Recipe
    is_born_dead: bool
    kinds: tuple[str, ...]
    worst: float

    @property
    def is_healthy(self) -> bool:
        """True if it has no fault."""
        return self.recipe.fault is None


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", choices=SPLITS, default="tune")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--only", action="append", metavar="TEXT", help="recipes whose name contains this")
    cli.add_reason(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per recipe and the counts."""
    options = parser()
    namespace = options.parse_args(arguments)
    cli.check_reason(options, namespace)
    if namespace.split in HELD_OUT:
        log_access(namespace.why, namespace.split)
    torch.set_num_threads(1)
    checked = []
    for seed in range(namespace.seeds):
        for recipe in trainings(namespace.split):
            if not namespace.only or any(text in recipe.name for text in namespace.only):
                checked.append(check_recipe(recipe, seed))
                print(_line(checked[-1]), flush=True)
    born_dead = [result for result in checked if result.is_born_dead]
    healthy = [result for result in checked if not result.is_born_dead and result.is_healthy]
    faulty_later = [result for result in checked if not result.is_born_dead and not result.is_healthy]
    print(f"\n{namespace.split}, {namespace.seeds} seeds")
    _print_count("born dead", born_dead)
    _print_count("healthy and twins", healthy)
    _print_count("faulty later, alive at the start", faulty_later)


def _print_count(name: str, results: Sequence[CheckedRecipe]) -> None:
    print(f"  {name:34s}{sum(bool(result.kinds) for result in results):4d} of {len(results):4d} flagged")


def check_recipe(recipe: Recipe, seed: int) -> CheckedRecipe:
    """Build a recipe's model, measure the ground truth, and check it."""
    dataset = load_dataset(recipe.dataset)
    model = _build(recipe, dataset, seed)
    silent = _silent_units(recipe, model, dataset)
    twin = twin_of(recipe)
    if twin is None:
        shares = [float(flags.mean()) for flags in silent]
    else:
        twin_silent = _silent_units(twin, _build(twin, dataset, seed), dataset)
        shares = [_lost_share(flags, of_twin) for flags, of_twin in zip(silent, twin_silent, strict=True)]
    rows = next(batches(recipe.loader, dataset, 1, np.random.default_rng(seed)))
    report = relumine.check(model, faults.inputs_at(recipe, dataset, dataset.x[rows], 1, bursts=True))
    kinds = tuple(dict.fromkeys(finding.kind for finding in report.findings))
    worst = max(shares, default=0.0)
    return CheckedRecipe(recipe, twin is not None and worst >= BORN_DEAD, kinds, worst)


def _build(recipe: Recipe, dataset: Dataset, seed: int) -> nn.Module:
    """Build the model as ``research.corpus.training`` does."""
    torch.manual_seed(seed)
    model = model_families.build(faults.net_of(recipe), dataset)
    faults.prepare(recipe, model, dataset)
    return model


def _silent_units(recipe: Recipe, model: nn.Module, dataset: Dataset) -> list[Flags]:
    inputs = faults.inputs_at(recipe, dataset, dataset.x, 1, bursts=False)
    return dead_units(measuring_copy(model), inputs)


def _lost_share(silent: Flags, twin_silent: Flags) -> float:
    """Return the silent share of the units that are alive in the twin; of all units if the twin has other ones."""
    alive = ~twin_silent if silent.shape == twin_silent.shape else np.ones_like(silent)
    return float(silent[alive].mean()) if alive.any() else 0.0


def _line(result: CheckedRecipe) -> str:
    kind = "faulty later"
    mark = ""
    if result.is_born_dead:
        kind = "born dead"
        mark = "" if result.kinds else "MISSED"
    elif result.is_healthy:
        kind = "healthy"
        mark = "FALSE" if result.kinds else ""
    return f"{result.recipe.name:52s}{kind:13s}silent {result.worst:4.0%}  {mark:7s}{', '.join(result.kinds)}"


if __name__ == "__main__":
    main()
