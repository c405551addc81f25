"""All recipes, their twins, and the sets (splits) they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias, get_args

from research.corpus import (
    bias_faults,
    blocks_and_jumps,
    diverging,
    healthy,
    heldout_2,
    heldout_3,
    heldout_fresh,
    initializations,
    input_shifts,
    kinds,
    learning_rate_faults,
    random_recipes,
)
from research.corpus.recipe import Recipe, without_fault
from research.corpus.splits import HELDOUT_1

Split: TypeAlias = Literal[
    "tune", "heldout_1", "heldout_2", "heldout_3", "heldout_fresh", "random", "kinds", "kinds_reported", "further_kinds"
]
"""Thresholds are chosen on ``tune``; fits use ``random`` too; the others are only scored."""

SPLITS: tuple[Split, ...] = get_args(Split)
RANDOM_RECIPES = 240
"""Number of recipes in the split ``random``."""

RECIPES: tuple[Recipe, ...] = (
    *healthy.RECIPES,
    *learning_rate_faults.RECIPES,
    *bias_faults.RECIPES,
    *initializations.RECIPES,
    *input_shifts.RECIPES,
    *diverging.RECIPES,
)
"""Recipes of the splits ``tune`` and ``heldout_1``."""

LATER_RECIPES: dict[Split, tuple[Recipe, ...]] = {
    "heldout_fresh": heldout_fresh.RECIPES,
    "heldout_2": heldout_2.RECIPES,
    "heldout_3": heldout_3.RECIPES,
    "kinds": kinds.DEVELOPMENT,
    "kinds_reported": kinds.REPORTED,
    "further_kinds": blocks_and_jumps.RECIPES,
}
"""Recipes written later, by split."""

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
if len(BY_NAME) < len(RECIPES) or BY_NAME.keys() < HELDOUT_1:
    raise SystemExit("two recipes share a name, or a name of the first held-out set is not a recipe")


def split_of(recipe: Recipe) -> Split:
    """Return the split of a recipe in ``RECIPES`` or of its twin."""
    return "heldout_1" if recipe.base in HELDOUT_1 else "tune"


def twin_of(recipe: Recipe) -> Recipe | None:
    """Return the healthy twin; None for healthy, diverging and random recipes."""
    if recipe.fault is None or recipe.group == "divergence" or random_recipes.is_random(recipe):
        return None
    return without_fault(recipe)


def trainings(split: Split) -> Iterator[Recipe]:
    """Yield every training of a split: its recipes, each faulty one after its twin."""
    for recipe in _recipes(split):
        twin = twin_of(recipe)
        if twin is not None:
            yield twin
        yield recipe


def _recipes(split: Split) -> Iterator[Recipe]:
    if split == "random":
        yield from (random_recipes.recipe(number) for number in range(RANDOM_RECIPES))
    elif split in LATER_RECIPES:
        yield from LATER_RECIPES[split]
    else:
        yield from (recipe for recipe in RECIPES if split_of(recipe) == split)
