"""No remedy, a random one, the recommended one: the share of dying trainings that end as good as healthy ones.

    python -m research.remedies.compare --split tune|heldout_1|heldout_2|heldout_3 … [--seed 0] [--only TEXT]
                                        [--from DIR] [--keep DIR] [--owner normalize_input check_loss] [--draws 2]

Every recipe that is faulty, really dies (half of a layer, measured on the entire training set) and has a healthy twin
is trained again with ``relumine.remedies.apply`` for ``on_alert``, with checkpoints, and with an owner who restores
inputs, or removes what pushes units down in the loss and its targets, when asked to (``--owner`` names fewer); and
again twice with the same at the same alerts, but with random actions, values and layers.

- As good: accuracy or explained variance within 5 % of the twin's. Seeds and batches are those of the twin.
- Extra steps: how far beyond the recipe's end a training must go on to be as good, up to half of the recipe's steps.
- Intervals: paired bootstrap over recipes.

The runs without a remedy are those that ``research.corpus.collect`` stored; train them first.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from research.corpus.cases import Case, case_of
from research.corpus.catalogue import SPLITS, Split, trainings, twin_of
from research.corpus.collect import FOLDER
from research.corpus.run_store import load_run
from research.remedies.treat import OWNER_ACTIONS, Arm, TreatedTraining, is_near, train

DRAWS = 2
RESAMPLES = 10_000
KEEP = Path(tempfile.gettempdir()) / "relumine-treated"


@dataclass(frozen=True, slots=True)
class DyingRun:
    """A stored run that died, with the final metric of itself and of its twin."""

    case: Case
    score: float
    twin: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One dying training in all arms."""

    case: Case
    twin: float
    untreated_is_near: bool
    random: tuple[TreatedTraining, ...]
    recommended: TreatedTraining

    @property
    def random_share(self) -> float:
        """Share of random draws that ended near the twin."""
        return float(np.mean([is_near(treated.score, self.twin) for treated in self.random]))

    @property
    def recommended_is_near(self) -> bool:
        """True if the recommended remedies ended near the twin."""
        return is_near(self.recommended.score, self.twin)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", nargs="+", choices=SPLITS, default=["tune"])
    options.add_argument("--seed", type=int, default=0)
    actions = tuple(OWNER_ACTIONS)
    options.add_argument("--owner", nargs="*", choices=actions, default=list(actions), help="actions of the owner")
    options.add_argument("--draws", type=int, default=DRAWS, help="random trainings of each run")
    options.add_argument("--only", metavar="TEXT", help="recipes whose name contains this")
    options.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--keep", type=Path, default=KEEP, metavar="DIR", help=f"default: {KEEP}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, then print the table."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    comparisons = []
    for split in options.split:
        for dying in _load_dying(split, options.source, options.seed):
            if not options.only or options.only in dying.case.recipe.name:
                comparisons.append(_compare(dying, options.keep, options.owner, options.draws))
                _print_comparison(comparisons[-1])
    if not comparisons:
        command = "python -m research.corpus.collect"
        raise SystemExit(f"no dying runs of {' '.join(options.split)} in {options.source}: train them with {command}")
    _print_table(comparisons)
    print(f"({time.perf_counter() - start:.0f} s)")


def _load_dying(split: Split, folder: Path, seed: int) -> list[DyingRun]:
    dying = []
    for recipe in trainings(split):
        twin = twin_of(recipe)
        run = load_run(folder, recipe, seed)
        twin_run = load_run(folder, twin, seed) if twin is not None else None
        if run is None or twin_run is None:
            continue
        case = case_of(run, twin_run)
        if case.is_positive:
            dying.append(DyingRun(case, run.score, twin_run.score))
    return dying


def _compare(dying: DyingRun, folder: Path, owner: Sequence[str], draws: int) -> Comparison:
    of_owner = folder / "-".join(owner)
    random = tuple(_load_or_train(dying, "random", of_owner, owner, draw) for draw in range(draws))
    recommended = _load_or_train(dying, "recommended", of_owner, owner)
    return Comparison(dying.case, dying.twin, is_near(dying.score, dying.twin), random, recommended)


def _load_or_train(dying: DyingRun, arm: Arm, folder: Path, owner: Sequence[str], draw: int = 0) -> TreatedTraining:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = dying.case.recipe
    seed = dying.case.seed
    path = folder / f"{recipe.fingerprint()}.{seed}.{arm}.{draw}.pickle"
    if path.exists():
        return TreatedTraining(*pickle.loads(path.read_bytes()))  # noqa: S301 - written below
    treated = train(recipe, seed, arm, dying.twin, draw=draw, owner=owner)
    path.write_bytes(pickle.dumps((treated.score, treated.extra, treated.remedies)))
    return treated


def _print_comparison(comparison: Comparison) -> None:
    case = comparison.case
    remedies = ", ".join(f"{action} {layer} at {step}" for step, action, layer in comparison.recommended.remedies)
    random_scores = "/".join(f"{treated.score:.3f}" for treated in comparison.random)
    print(
        f"{case.recipe.name:44s} {case.kind:9s} twin {comparison.twin:6.3f} lost {case.lost_score:6.3f} "
        f"random {random_scores} recommended {comparison.recommended.score:6.3f} "
        f"{'near' if comparison.recommended_is_near else '    '} [{remedies or 'nothing'}]",
        flush=True,
    )


def _print_table(comparisons: Sequence[Comparison]) -> None:
    harmed = [comparison for comparison in comparisons if not comparison.untreated_is_near]
    print(f"\n{'dying runs':28s} {'n':>3s}  untreated  random  recommended  recommended - random")
    _print_row("all", comparisons)
    _print_row("harmed (untreated fails)", harmed)
    by_fault: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in harmed:
        fault = comparison.case.recipe.fault
        by_fault["" if fault is None else fault.kind].append(comparison)
    for kind in sorted(by_fault):
        _print_row(f"  {kind}", by_fault[kind])
    print(f"\nthe best arm of each run, chosen afterwards: {_mean_interval(comparisons, _best)}")
    print("\nextra steps until as good, as a share of the recipe's steps: share that gets there, median of those")
    _print_extra("random", [(treated, c.case.recipe.steps) for c in harmed for treated in c.random])
    _print_extra("recommended", [(c.recommended, c.case.recipe.steps) for c in harmed])


def _print_row(name: str, comparisons: Sequence[Comparison]) -> None:
    if comparisons:
        cells = [_mean_interval(comparisons, value) for value in (_untreated, _random, _recommended, _advantage)]
        print(f"{name:28s} {len(comparisons):3d}  " + "  ".join(cells))


def _print_extra(arm: str, treated: Sequence[tuple[TreatedTraining, int]]) -> None:
    shares = [training.extra / steps for training, steps in treated if training.extra is not None]
    middle = f"{median(shares):.2f}" if shares else "-"
    print(f"  {arm:12s} {len(shares) / max(1, len(treated)):.2f}  {middle}")


def _untreated(comparison: Comparison) -> float:
    return float(comparison.untreated_is_near)


def _random(comparison: Comparison) -> float:
    return comparison.random_share


def _recommended(comparison: Comparison) -> float:
    return float(comparison.recommended_is_near)


def _advantage(comparison: Comparison) -> float:
    return _recommended(comparison) - _random(comparison)


def _best(comparison: Comparison) -> float:
    """Return 1 if any arm ended near the twin, as a perfect choice among them would have."""
    return float(comparison.untreated_is_near or comparison.recommended_is_near or comparison.random_share > 0)


def _mean_interval(comparisons: Sequence[Comparison], value: Callable[[Comparison], float]) -> str:
    """Return mean and 95 % interval of a bootstrap over recipes."""
    values = np.array([value(comparison) for comparison in comparisons])
    samples = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[samples].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():.2f} [{low:.2f} {high:.2f}]"


if __name__ == "__main__":
    main()
