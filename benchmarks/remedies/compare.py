"""Nothing, a random remedy, the recommended one: which dying trainings of the corpus end as good as healthy ones.

    python benchmarks/remedies/compare.py --half tune|report|second|third … [--seed 0] [--only TEXT] [--keep DIR]
                                          [--owner normalize_input check_loss]

Every recipe that is ill, really dies (half of a layer, measured on the entire training set) and has a healthy twin is
trained again with `relumine.remedies.apply` for `on_alert`, with copies kept and an owner who mends inputs, or takes
out what pushes in the loss and its targets, when asked to (``--owner`` names fewer), and again twice with the same at
the same alerts but with action, number and layer drawn by chance. As good: accuracy or explained variance within 5 % of
the twin's. Seeds and batches are those of the twin. Extra steps: how far beyond the recipe's end a training must go on
to be as good; it may for half of the recipe's steps. Intervals: paired bootstrap over recipes. The runs without a
remedy are those that `benchmarks/detection/corpus.py` keeps; train them first.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "detection"))

from cases import Case, case_of
from catalogue import trainings, twin_of
from corpus import FOLDER
from runs import kept
from treating import OWNER, Arm, Ended, near, train

DRAWS = 2
RESAMPLES = 10_000
KEEP = Path(tempfile.gettempdir()) / "relumine-treated"


@dataclass(frozen=True, slots=True)
class Compared:
    """One dying training in all arms; shares of draws that ended near the twin."""

    case: Case
    twin: float
    nothing: bool
    random: tuple[Ended, ...]
    recommended: Ended

    @property
    def by_chance(self) -> float:
        """The share of random draws that ended near the twin."""
        return float(np.mean([near(one.score, self.twin) for one in self.random]))

    @property
    def as_told(self) -> bool:
        """Whether the recommended remedy ended near it."""
        return near(self.recommended.score, self.twin)


def main() -> None:
    """Train what is missing, then print the table."""
    arguments = _arguments()
    torch.set_num_threads(1)
    compared = []
    for case, nothing, twin in [one for half in arguments.half for one in _dying(half, arguments.seed)]:
        if arguments.only and arguments.only not in case.recipe.name:
            continue
        one = _compare(case, nothing, twin, arguments.keep, arguments.owner)
        compared.append(one)
        _show(one)
    _print_table(compared)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", nargs="+", choices=("tune", "report", "second", "third", "fresh"), default=["tune"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--owner", nargs="*", choices=tuple(OWNER), default=list(OWNER), help="what the owner does")
    parser.add_argument("--only", metavar="TEXT", help="recipes whose name contains this")
    parser.add_argument("--keep", type=Path, default=KEEP, metavar="DIR", help=f"default: {KEEP}")
    return parser.parse_args()


def _dying(half: str, seed: int) -> list[tuple[Case, float, float]]:
    """Dying runs with the final metric of themselves and of their twins."""
    found = []
    for recipe in trainings(half):
        twin = twin_of(recipe)
        run = kept(FOLDER, recipe, seed)
        reference = kept(FOLDER, twin, seed) if twin is not None else None
        if run is None or reference is None:
            continue
        case = case_of(run, reference)
        if case.is_positive:
            found.append((case, run.score, reference.score))
    return found


def _compare(case: Case, nothing: float, twin: float, folder: Path, owner: Sequence[str]) -> Compared:
    folder = folder / "-".join(owner)
    chance = tuple(_trained(case, "random", twin, folder, owner, draw) for draw in range(DRAWS))
    return Compared(case, twin, near(nothing, twin), chance, _trained(case, "recommended", twin, folder, owner))


def _trained(case: Case, arm: Arm, twin: float, folder: Path, owner: Sequence[str], draw: int = 0) -> Ended:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.recipe.fingerprint()}.{case.seed}.{arm}.{draw}.pickle"
    if path.exists():
        return Ended(*pickle.loads(path.read_bytes()))  # noqa: S301 - written below
    ended = train(case.recipe, case.seed, arm, twin, draw, owner)
    path.write_bytes(pickle.dumps((ended.score, ended.extra, ended.did)))
    return ended


def _show(one: Compared) -> None:
    did = ", ".join(f"{action} {layer} at {step}" for step, action, layer in one.recommended.did) or "nothing"
    print(
        f"{one.case.recipe.name:44s} {one.case.kind:7s} twin {one.twin:6.3f} lost {one.case.lost_score:6.3f} "
        f"chance {'/'.join(f'{x.score:.3f}' for x in one.random)} told {one.recommended.score:6.3f} "
        f"{'near' if one.as_told else '    '} [{did}]",
        flush=True,
    )


def _print_table(compared: Sequence[Compared]) -> None:
    harmed = [one for one in compared if not one.nothing]
    print(f"\n{'dying runs':28s} {'n':>3s}  nothing  random  recommended  recommended - random")
    _print_row("all", compared)
    _print_row("harmed (nothing fails)", harmed)
    groups: dict[str, list[Compared]] = defaultdict(list)
    for one in harmed:
        groups[f"  {one.case.recipe.fault.kind if one.case.recipe.fault else ''}"].append(one)
    for name in sorted(groups):
        _print_row(name, groups[name])
    print(f"\nthe best arm of each run, known afterwards: {_interval(compared, _in_hindsight)}")
    print("\nextra steps until as good, in parts of the recipe's steps: share that gets there, median of those")
    for arm, ends in _extras(harmed).items():
        parts = [extra / steps for extra, steps in ends if extra is not None]
        middle = f"{median(parts):.2f}" if parts else "-"
        print(f"  {arm:12s} {len(parts) / max(1, len(ends)):.2f}  {middle}")


def _extras(compared: Sequence[Compared]) -> dict[str, list[tuple[int | None, int]]]:
    return {
        "random": [(end.extra, one.case.recipe.steps) for one in compared for end in one.random],
        "recommended": [(one.recommended.extra, one.case.recipe.steps) for one in compared],
    }


def _print_row(name: str, compared: Sequence[Compared]) -> None:
    if not compared:
        return
    cells = [_interval(compared, value) for value in (_nothing, _chance, _told, lambda one: _told(one) - _chance(one))]
    print(f"{name:28s} {len(compared):3d}  " + "  ".join(cells))


def _in_hindsight(one: Compared) -> float:
    """Whether any of the arms ended near the twin: what a perfect choice among them would have reached."""
    return float(one.nothing or one.as_told or one.by_chance > 0)


def _nothing(one: Compared) -> float:
    return float(one.nothing)


def _chance(one: Compared) -> float:
    return one.by_chance


def _told(one: Compared) -> float:
    return float(one.as_told)


def _interval(compared: Sequence[Compared], value: Callable[[Compared], float]) -> str:
    """Mean and 95 % interval of a bootstrap over recipes."""
    values = np.array([value(one) for one in compared])
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():.2f} [{low:.2f} {high:.2f}]"


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"({time.perf_counter() - began:.0f} s)")
