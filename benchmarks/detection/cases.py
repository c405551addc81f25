"""What was true of a run, in the terms that a detector is judged by.

Collapse of a layer: the first step from which at least half of the units that are alive at the start of its healthy
twin are dead to the end. The start of the twin is the run's own start, unless the fault lies in the initialization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from recipe import TWIN, Recipe
from runs import Run
from truth import collapse, lost_shares

Kind: TypeAlias = Literal["healthy", "twin", "born", "abrupt", "onset", "diverged", "unclear"]

ABRUPT = 10
"""Steps from fault to collapse: within one interval of looks nobody can warn."""
LEAST_ALIVE = 0.1
"""Share of a layer's units that must be alive at the start, or there is nothing left to lose."""
HARM = 0.02
"""Of accuracy, or of explained variance: less is no harm."""


@dataclass(frozen=True)
class Case:
    """The truth about one run. ``collapses`` by layer id; ``at`` the step after which the fault is there.

    ``samples`` are the steps that were looked at; ``lost_score`` what the fault cost at the end, against the twin.
    """

    recipe: Recipe
    seed: int
    kind: Kind
    at: int
    collapses: dict[int, int]
    samples: tuple[int, ...]
    worst: float
    lost_score: float | None

    @property
    def collapse(self) -> int:
        """When the first layer had collapsed; only of those that have one."""
        return min(self.collapses.values())

    @property
    def is_positive(self) -> bool:
        """Whether an alert was due."""
        return self.kind in ("born", "abrupt", "onset")

    @property
    def is_negative(self) -> bool:
        """Whether every alert is a false one."""
        return self.kind in ("healthy", "twin")

    @property
    def harmful(self) -> bool:
        """Whether the end was worse than the twin's by more than chance."""
        return self.lost_score is not None and not self.lost_score <= HARM  # NaN is harm

    def samples_after(self, step: int, told: int) -> int:
        """Looks later than ``step``, up to and including that of ``told``."""
        return sum(step < sample <= told for sample in self.samples)


def case_of(run: Run, twin: Run | None) -> Case:
    """The truth about a run, and its healthy twin where it has one."""
    reference = run if twin is None else twin
    shares = lost_shares_of(run, reference)
    found = {layer: collapse(run.truth.steps, lost) for layer, lost in shares.items()}
    collapses = {layer: step for layer, step in found.items() if step is not None}
    fault = run.recipe.fault
    at = fault.at if fault is not None else 0
    return Case(
        recipe=run.recipe,
        seed=run.seed,
        kind=_kind(run, collapses, at),
        at=at,
        collapses=collapses,
        samples=tuple(sorted({record.step for record in run.records()})),
        worst=max((max(lost) for lost in shares.values()), default=0.0),
        lost_score=None if twin is None or fault is None else twin.score - run.score,
    )


def lost_shares_of(run: Run, reference: Run) -> dict[int, list[float]]:
    """Lost share over time by layer id, of the units that are alive at the start of ``reference``.

    A layer whose units the twin does not have is held against all its units.
    """
    shares = {}
    for place, info in enumerate(sorted(run.layers, key=lambda layer: int(layer["layer_id"]))):
        if not info["can_die"]:
            continue
        own = run.truth.dead[0][place]
        start = reference.truth.dead[0]
        fits = len(start) == len(run.truth.dead[0]) and start[place].shape == own.shape
        alive = ~start[place] if fits else np.ones_like(own)
        if alive.mean() >= LEAST_ALIVE:
            shares[int(info["layer_id"])] = lost_shares(run.truth, place, alive)
    return shares


def _kind(run: Run, collapses: dict[int, int], at: int) -> Kind:
    if run.recipe.fault is None:
        whole: Kind = "twin" if run.recipe.name.endswith(TWIN) else "healthy"
        return "unclear" if collapses or run.diverged else whole
    if run.diverged:
        return "diverged"
    if not collapses:
        return "unclear"
    first = min(collapses.values())
    if first == 0:
        return "born"
    return "abrupt" if first - at <= ABRUPT else "onset"
