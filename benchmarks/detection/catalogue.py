"""All recipes, their twins, and the halves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import biases
import diverging
import drawn
import fresh
import healthy
import high_rates
import second
import shifted
import starts
import third
from halves import REPORT
from recipe import Recipe, without_fault

Half: TypeAlias = Literal["tune", "report", "drawn", "fresh", "second", "third"]
DRAWN = 240
"""Recipes of the third part, which only fits are made on."""

RECIPES: tuple[Recipe, ...] = (
    *healthy.RECIPES,
    *high_rates.RECIPES,
    *biases.RECIPES,
    *starts.RECIPES,
    *shifted.RECIPES,
    *diverging.RECIPES,
)
APART: dict[Half, tuple[Recipe, ...]] = {"fresh": fresh.RECIPES, "second": second.RECIPES, "third": third.RECIPES}
"""Recipes that came later, each half as it was written."""
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
if len(BY_NAME) < len(RECIPES) or BY_NAME.keys() < REPORT:
    raise SystemExit("two recipes share a name, or a name of the report half is none")


def half_of(recipe: Recipe) -> Half:
    """The half that a recipe and its twin belong to."""
    return "report" if recipe.base in REPORT else "tune"


def twin_of(recipe: Recipe) -> Recipe | None:
    """The healthy twin; None of a recipe that is healthy itself, and where nothing could be learned from one."""
    if recipe.fault is None or recipe.group == "divergence" or recipe.name.startswith("drawn"):
        return None
    return without_fault(recipe)


def trainings(half: Half) -> Iterator[Recipe]:
    """Every training of a half: its recipes, each ill one after its own twin; what is drawn at random has none."""
    if half == "drawn":
        yield from (drawn.recipe(number) for number in range(DRAWN))
        return
    for recipe in APART.get(half) or [recipe for recipe in RECIPES if half_of(recipe) == half]:
        twin = twin_of(recipe)
        if twin is not None:
            yield twin
        yield recipe
