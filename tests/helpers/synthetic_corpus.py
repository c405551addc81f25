"""A stored corpus of four recipes and their twins without any training: simulated records and a ground truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from research.corpus.catalogue import BY_NAME, twin_of
from research.corpus.ground_truth import GroundTruth
from research.corpus.recipe import Recipe
from research.corpus.run_store import Run, store_run, table_arrays
from research.scoring.simulated import Sampling, Simulation

RECIPES = ("functional adamw creeps", "mlp wide adam push", "mlp rmsprop tiny", "mlp sgd penalty")
"""Those of the figures: two onsets, one born dead, one healthy."""
UNITS = 24
LAYERS = 2
COLLAPSES, SURVIVES = 0, 1
SURVIVING_LOSS = 0.4
"""Share of units that the surviving layer loses: alerts, but no collapse."""
DYING_STEPS = 200
EVERY = 20
"""Steps between two records, and between two points of the ground truth."""


def store_corpus(folder: Path) -> None:
    """Store the corpus with seed 0."""
    for name in RECIPES:
        recipe = BY_NAME[name]
        twin = twin_of(recipe)
        if twin is not None:
            store_run(folder, simulate(twin))
        store_run(folder, simulate(recipe))


def simulate(recipe: Recipe) -> Run:
    """Return a run in which units fall silent one after the other from the fault on."""
    rates = np.random.default_rng(0).uniform(0.3, 0.7, (LAYERS, UNITS))
    sampling = Sampling(every=EVERY)
    simulation = Simulation(rates, sampling, seed=0)
    truth = GroundTruth()
    tables = []
    for step in range(0, recipe.steps + 1, EVERY):
        is_dead = _dead_units(recipe, step)
        truth.add(step, [layer.copy() for layer in is_dead])
        if step:
            simulation.set_rates(np.where(is_dead, 0.0, rates))
            tables.append(simulation.next_records())
    layers = [layer.model_dump() for layer in simulation.layers]
    is_faulty = recipe.fault is not None
    stats = {"steps": recipe.steps, "sampled_steps": len(tables), "upload_bytes": 1000 * len(tables)}
    return Run(
        recipe=recipe,
        seed=0,
        every=None,
        layers=layers,
        tables=table_arrays(tables),
        truth=truth,
        losses=[1.0] * recipe.steps,
        score=0.1 if is_faulty else 0.9,
        stats=stats,
    )


def _dead_units(recipe: Recipe, step: int) -> np.ndarray:
    """Return the dead units, shape (layers, units)."""
    is_dead = np.zeros((LAYERS, UNITS), bool)
    fault = recipe.fault
    if fault is None:
        return is_dead
    share = 1.0 if fault.start == 0 else float(np.clip((step - fault.start) / DYING_STEPS, 0, 1))
    is_dead[COLLAPSES, : round(share * UNITS)] = True
    is_dead[SURVIVES, : round(share * SURVIVING_LOSS * UNITS)] = True
    return is_dead
