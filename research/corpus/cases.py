"""The ground truth of a run in the terms in which a detector is scored.

The collapse of a layer is the first step from which at least half of the units that are alive at the start of its
healthy twin are dead until the end. The twin starts as the run does, unless the fault is in the initialization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from research.corpus.ground_truth import collapse_step, lost_shares
from research.corpus.recipe import TWIN, Recipe
from research.corpus.run_store import Run

Kind: TypeAlias = Literal["healthy", "twin", "born_dead", "abrupt", "onset", "diverged", "unclear"]

ABRUPT = 10
"""Steps from fault to collapse: within one interval of sampled steps no detector can warn."""
MIN_ALIVE = 0.1
"""Share of a layer's units that must be alive at the start, or there is nothing left to lose."""
HARM = 0.02
"""Loss of accuracy or explained variance below which a fault is harmless."""


@dataclass(frozen=True)
class Case:
    """The ground truth of one run. ``collapses`` by layer id; the fault is present after ``fault_step``.

    ``sampled_steps`` are those of its records; ``worst`` is the largest share of a layer that was ever lost;
    ``lost_score`` is the cost of the fault at the end, against the twin.
    """

    recipe: Recipe
    seed: int
    kind: Kind
    fault_step: int
    collapses: dict[int, int]
    sampled_steps: tuple[int, ...]
    worst: float
    lost_score: float | None

    @property
    def collapse(self) -> int:
        """Step at which the first layer had collapsed; only for a case with collapses."""
        return min(self.collapses.values())

    @property
    def is_positive(self) -> bool:
        """True if an alert was due."""
        return self.kind in ("born_dead", "abrupt", "onset")

    @property
    def is_negative(self) -> bool:
        """True if every alert is a false one."""
        return self.kind in ("healthy", "twin")

    @property
    def is_harmful(self) -> bool:
        """True if the end was worse than the twin's by more than chance."""
        return self.lost_score is not None and not self.lost_score <= HARM  # NaN is harm

    def sampled_between(self, first: int, last: int) -> int:
        """Return the number of sampled steps after ``first`` up to and including ``last``."""
        return sum(first < step <= last for step in self.sampled_steps)


def case_of(run: Run, twin: Run | None) -> Case:
    """Return the case of a run and its healthy twin, if it has one."""
    reference = run if twin is None else twin
    shares = lost_shares_by_layer(run, reference)
    collapses: dict[int, int] = {}
    for layer_id, lost in shares.items():
        step = collapse_step(run.truth.steps, lost)
        if step is not None:
            collapses[layer_id] = step
    fault = run.recipe.fault
    fault_step = fault.start if fault is not None else 0
    return Case(
        recipe=run.recipe,
        seed=run.seed,
        kind=_kind(run, collapses, fault_step),
        fault_step=fault_step,
        collapses=collapses,
        sampled_steps=tuple(sorted({record.step for record in run.records()})),
        worst=max((max(lost) for lost in shares.values()), default=0.0),
        lost_score=None if twin is None or fault is None else twin.score - run.score,
    )


def lost_shares_by_layer(run: Run, reference: Run) -> dict[int, list[float]]:
    """Return the lost share over time by layer id, of the units that are alive at the start of ``reference``.

    A layer that the reference has with another width, or not at all, is compared against all its units.
    """
    shares = {}
    initial = run.truth.dead[0]
    reference_initial = reference.truth.dead[0]
    for index, info in enumerate(sorted(run.layers, key=lambda layer: int(layer["layer_id"]))):
        if not info["can_die"] or index >= len(initial):  # a second call of an activation has no ground truth
            continue
        is_comparable = (
            len(reference_initial) == len(initial) and reference_initial[index].shape == initial[index].shape
        )
        alive = ~reference_initial[index] if is_comparable else np.ones_like(initial[index])
        if alive.mean() >= MIN_ALIVE:
            shares[int(info["layer_id"])] = lost_shares(run.truth, index, alive)
    return shares


def _kind(run: Run, collapses: dict[int, int], fault_step: int) -> Kind:
    if run.recipe.fault is None:
        if collapses or run.diverged:
            return "unclear"
        return "twin" if run.recipe.name.endswith(TWIN) else "healthy"
    if run.diverged:
        return "diverged"
    if not collapses:
        return "unclear"
    collapse = min(collapses.values())
    if collapse == 0:
        return "born_dead"
    return "abrupt" if collapse - fault_step <= ABRUPT else "onset"
