"""Train the corpus through the public SDK and store every run; print the ground truth, but nothing of the detector.

    python -m research.corpus.collect --split tune|heldout_1|heldout_2|heldout_3|heldout_fresh|random|further_kinds
                                      [--seeds N] [--keep DIR] [--every N] [--only TEXT]
    python -m research.corpus.collect --list

Stored runs are not trained again unless their recipe was changed. ``python -m research.scoring.score`` scores them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from research.corpus.cases import Case, case_of
from research.corpus.catalogue import BY_NAME, RECIPES, SPLITS, Split, split_of, trainings, twin_of
from research.corpus.recipe import Recipe
from research.corpus.run_store import Run, load_run, store_run
from research.corpus.training import train

FOLDER = Path(tempfile.gettempdir()) / "relumine-corpus"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", choices=SPLITS, default="tune")
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--every", type=int, help="sample every n-th step; default: the SDK's own interval")
    options.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--only", action="append", metavar="TEXT", help="recipes whose name contains this")
    options.add_argument("--list", action="store_true", help="print the catalogue and train nothing")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, one run after the other."""
    options = parser().parse_args(arguments)
    if options.list:
        _print_catalogue()
        return
    torch.set_num_threads(1)
    start = time.perf_counter()
    for seed in range(options.seeds):
        for recipe in trainings(options.split):
            if not options.only or any(text in recipe.name for text in options.only):
                run, seconds = _load_or_train(recipe, seed, options.keep, options.every)
                _print_run(run, seconds, options.keep)
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s so far", flush=True)


def _load_or_train(recipe: Recipe, seed: int, folder: Path, every: int | None) -> tuple[Run, float]:
    """Return a run and the seconds it took; 0 if it was stored."""
    stored = load_run(folder, recipe, seed)
    if stored is not None and stored.every != every:
        raise SystemExit(f"{folder} holds runs of another sampling interval: give each interval its own folder")
    if stored is not None:
        return stored, 0.0
    start = time.perf_counter()
    run = train(recipe, seed, every)
    store_run(folder, run)
    return run, time.perf_counter() - start


def load_cases(split: Split, folder: Path, seeds: int) -> list[tuple[Run, Case]]:
    """Return every stored run of a split with its case; missing runs, and runs without their twin, are left out."""
    pairs = []
    for recipe in trainings(split):
        twin = twin_of(recipe)
        for seed in range(seeds):
            run = load_run(folder, recipe, seed)
            twin_run = load_run(folder, twin, seed) if twin is not None else None
            if run is not None and (twin is None or twin_run is not None):
                pairs.append((run, case_of(run, twin_run)))
    return pairs


def _print_run(run: Run, seconds: float, folder: Path) -> None:
    twin = twin_of(run.recipe)
    case = case_of(run, load_run(folder, twin, run.seed) if twin is not None else None)
    in_order = sorted(case.collapses.items(), key=lambda collapse: collapse[1])
    collapses = " ".join(f"{layer}:{step}" for layer, step in in_order)
    cost = "" if case.lost_score is None else f"  cost {case.lost_score:6.3f}"
    print(
        f"{run.recipe.name:48s} s{run.seed} {seconds:5.1f} s  {case.kind:9s} worst {case.worst:4.0%}  "
        f"score {run.score:6.3f}{cost}  sampled {len(case.sampled_steps):3d}  {collapses}",
        flush=True,
    )


def _print_catalogue() -> None:
    for recipe in RECIPES:
        marks = ["sparse"] * recipe.sparse + ["twin"] * (twin_of(recipe) is not None)
        print(f"{split_of(recipe):10s}{recipe.group:11s}{recipe.family:12s}", end="")
        print(f"{recipe.optim.kind:9s}{recipe.name:48s}{' '.join(marks)}")
    for split in ("tune", "heldout_1"):
        _print_counts(split)
    twins = sum(twin_of(recipe) is not None for recipe in RECIPES)
    print(f"\n{len(BY_NAME)} recipes, {twins} with a twin")


def _print_counts(split: Split) -> None:
    """Print the number of recipes by group and family."""
    counts = Counter((recipe.group, recipe.family) for recipe in RECIPES if split_of(recipe) == split)
    families = sorted({family for _, family in counts})
    print(f"\n{split:11s}" + "".join(f"{family:>13s}" for family in families))
    for group in dict.fromkeys(recipe.group for recipe in RECIPES):
        row = [counts[group, family] for family in families]
        print(f"{group:11s}" + "".join(f"{count:13d}" for count in row) + f"   = {sum(row)}")


if __name__ == "__main__":
    main()
