"""Trains the corpus through the public SDK and keeps every run; prints what was true, and nothing a detector says.

    python benchmarks/detection/corpus.py --half tune|report|second|third
                                          [--seeds N] [--keep DIR] [--every N] [--only TEXT]
    python benchmarks/detection/corpus.py --list

Runs that are kept already are not trained again, unless their recipe was changed. ``score.py`` judges them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from cases import Case, case_of
from catalogue import BY_NAME, RECIPES, Half, half_of, trainings, twin_of
from recipe import Recipe
from runs import Run, keep, kept
from training import train

FOLDER = Path(tempfile.gettempdir()) / "relumine-corpus"


def main() -> None:
    """Train what is missing, one run after the other."""
    arguments = _arguments()
    if arguments.list:
        _print_catalogue()
        return
    torch.set_num_threads(1)
    began = time.perf_counter()
    for seed in range(arguments.seeds):
        for recipe in trainings(arguments.half):
            if not arguments.only or any(text in recipe.name for text in arguments.only):
                _show(*_run(recipe, seed, arguments.keep, arguments.every), folder=arguments.keep)
        print(f"seed {seed}: {time.perf_counter() - began:.0f} s so far", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report", "drawn", "fresh", "second", "third"), default="tune")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--every", type=int, help="look at every n-th step; default: the SDK's own pace")
    parser.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument("--only", action="append", metavar="TEXT", help="recipes whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the catalogue and train nothing")
    return parser.parse_args()


def _run(recipe: Recipe, seed: int, folder: Path, every: int | None) -> tuple[Run, float]:
    """A run, and the seconds it took; 0 if it was kept."""
    known = kept(folder, recipe, seed)
    if known is not None and known.every != every:
        raise SystemExit(f"{folder} holds runs that were looked at at another pace: give each pace its own folder")
    if known is not None:
        return known, 0.0
    began = time.perf_counter()
    run = train(recipe, seed, every)
    keep(folder, run)
    return run, time.perf_counter() - began


def cases(half: Half, folder: Path, seeds: int) -> list[tuple[Run, Case]]:
    """Every kept run of a half beside its truth; what was not kept yet is left out."""
    found = []
    for recipe in trainings(half):
        for seed in range(seeds):
            run = kept(folder, recipe, seed)
            twin = twin_of(recipe)
            reference = kept(folder, twin, seed) if twin is not None else None
            if run is not None and (twin is None or reference is not None):
                found.append((run, case_of(run, reference)))
    return found


def _show(run: Run, seconds: float, folder: Path) -> None:
    twin = twin_of(run.recipe)
    case = case_of(run, kept(folder, twin, run.seed) if twin is not None else None)
    steps = " ".join(f"{layer}:{step}" for layer, step in sorted(case.collapses.items(), key=lambda pair: pair[1]))
    cost = "" if case.lost_score is None else f"  cost {case.lost_score:6.3f}"
    print(
        f"{run.recipe.name:48s} s{run.seed} {seconds:5.1f} s  {case.kind:8s} worst {case.worst:4.0%}  "
        f"score {run.score:6.3f}{cost}  looks {len(case.samples):3d}  {steps}",
        flush=True,
    )


def _print_catalogue() -> None:
    for recipe in RECIPES:
        marks = f"{'sparse ' if recipe.sparse else ''}{'' if twin_of(recipe) is None else 'twin'}"
        print(
            f"{half_of(recipe):7s}{recipe.group:11s}{recipe.family:12s}{recipe.optim.kind:9s}{recipe.name:48s}{marks}"
        )
    for half in ("tune", "report"):
        counts = Counter((r.group, r.family) for r in RECIPES if half_of(r) == half)
        families = sorted({family for _, family in counts})
        print(f"\n{half:11s}" + "".join(f"{family:>13s}" for family in families))
        for group in dict.fromkeys(r.group for r in RECIPES):
            row = [counts[group, family] for family in families]
            print(f"{group:11s}" + "".join(f"{count:13d}" for count in row) + f"   = {sum(row)}")
    print(f"\n{len(BY_NAME)} recipes, {sum(twin_of(r) is not None for r in RECIPES)} with a twin")


if __name__ == "__main__":
    main()
