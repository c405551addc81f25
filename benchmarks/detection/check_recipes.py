"""What ``relumine.check`` says of each recipe before step one: the model as built, its first batch, no training.

    python benchmarks/detection/check_recipes.py --half tune|fresh
    python benchmarks/detection/check_recipes.py --half report|second|third --why REASON

A recipe is born dead where at least half of the units of a layer that live in its healthy twin are silent on the entire
training set before the first step. Flagged means that there are findings; what is missed or wrong is marked.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import families
import faults
import numpy as np
import torch
from catalogue import trainings, twin_of
from loaders import batches
from looks import HELD_OUT, note_look
from materials import Material, material
from recipe import Recipe
from torch import nn
from truth import Flags, dead_units, outside

import relumine

LOST = 0.5


class Verdict(NamedTuple):
    """Of one recipe: the truth, what was said, and the most silent layer's share."""

    recipe: Recipe
    is_born_dead: bool
    kinds: tuple[str, ...]
    worst: float


def main() -> None:
    """Print a line per recipe and the counts."""
    arguments = _arguments()
    if arguments.half in HELD_OUT:
        note_look(arguments.why, arguments.half)
    torch.set_num_threads(1)
    found = [_verdict(recipe, seed) for seed in range(arguments.seeds) for recipe in trainings(arguments.half)]
    for one in found:
        print(_line(one), flush=True)
    born = [one for one in found if one.is_born_dead]
    well = [one for one in found if not one.is_born_dead and one.recipe.fault is None]
    other = [one for one in found if not one.is_born_dead and one.recipe.fault is not None]
    print(f"\n{arguments.half}, {arguments.seeds} seeds")
    for name, some in (("born dead", born), ("healthy and twins", well), ("ill later, sound at the start", other)):
        print(f"  {name:32s}{sum(bool(one.kinds) for one in some):4d} of {len(some):4d} flagged")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "fresh", *HELD_OUT), default="tune")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--why", help="who looks at a half that is held out, and what for")
    arguments = parser.parse_args()
    if arguments.half in HELD_OUT and not arguments.why:
        parser.error(f"the {arguments.half} half needs --why")
    return arguments


def _verdict(recipe: Recipe, seed: int) -> Verdict:
    source = material(recipe.material)
    model = _built(recipe, source, seed)
    twin = twin_of(recipe)
    silent = _silent(recipe, model, source)
    before = silent if twin is None else _silent(twin, _built(twin, source, seed), source)
    shares = [_lost(now, then, has_twin=twin is not None) for now, then in zip(silent, before, strict=True)]
    rows = next(batches(recipe.loader, source, 1, np.random.default_rng(seed)))
    report = relumine.check(model, faults.inputs(recipe, source, source.x[rows], 1, bursts=True))
    kinds = tuple(dict.fromkeys(finding.kind for finding in report.findings))
    worst = max(shares, default=0.0)
    return Verdict(recipe, twin is not None and worst >= LOST, kinds, worst)


def _built(recipe: Recipe, source: Material, seed: int) -> nn.Module:
    """As ``training`` does it."""
    torch.manual_seed(seed)
    model = families.build(faults.net_of(recipe), source)
    faults.prepare(recipe, model, source)
    return model


def _silent(recipe: Recipe, model: nn.Module, source: Material) -> list[Flags]:
    return dead_units(outside(model), faults.inputs(recipe, source, source.x, 1, bursts=False))


def _lost(now: Flags, then: Flags, *, has_twin: bool) -> float:
    """Of units that live in the twin, where both have as many; else of all."""
    alive = ~then if has_twin and now.shape == then.shape else np.ones_like(now)
    return float(now[alive].mean()) if alive.any() else 0.0


def _line(one: Verdict) -> str:
    healthy = one.recipe.fault is None
    mark = "MISSED" if one.is_born_dead and not one.kinds else "FALSE" if healthy and one.kinds else ""
    kind = "born dead" if one.is_born_dead else "healthy" if healthy else "ill later"
    return f"{one.recipe.name:52s}{kind:11s}silent {one.worst:4.0%}  {mark:7s}{', '.join(one.kinds)}"


if __name__ == "__main__":
    main()
