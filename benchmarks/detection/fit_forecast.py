"""Fits the forecast (``detection/forecast.py``) on the dying alerts of the tune half, and prints its numbers.

    python benchmarks/detection/fit_forecast.py [--from DIR] [--seeds N]

An alert is each ``dying`` raised or changed before its layer collapsed; the outcome is the steps until then, or never.
Beside the numbers, by cross-validation over recipes (eight folds): how often the stated interval held the collapse
where a forecast was issued (never is not held), and how many alerts carry one. ``forecasts.py`` says their worth.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import commandline
import numpy as np
from cases import Case
from runs import Run
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.forecast import Course, course
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import signs

Array = np.ndarray[Any, np.dtype[Any]]
FOLDS = 8
TWENTIETH = 0.05
TIME, COMING = ("odds", "kill"), ("kill", "headroom", "looks")
"""What each model reads; others did not make it better (forward selection by the same cross-validation)."""


class Told(NamedTuple):
    """One alert: its signs, the steps until the collapse (infinite: never), and whose it is."""

    seen: Course
    left: float
    recipe: str


class Fit(NamedTuple):
    """Both models in the units of the signs, as (intercept, weights)."""

    steps: tuple[float, Array]
    chance: tuple[float, Array]
    early: float
    late: float


def alerts_of(run: Run, case: Case) -> list[Told]:
    """The alerts of one run, read off the state after each look."""
    state = detector.describe(detector.empty(), run.infos())
    told = []
    for record in run.records():
        state, _, findings = onset.advance(state, [record], Policy())
        for found in findings:
            collapse = case.collapses.get(found.layer_id, math.inf)
            if found.kind == "dying" and found.transition != "resolved" and collapse > found.step:
                memory = state.layers[found.layer_id]
                seen = course(memory.risk, signs(memory, state.run).kill, memory.headroom, memory.records)
                told.append(Told(seen, collapse - found.step, case.recipe.base))
    return told


def fit(told: list[Told]) -> Fit:
    """Times by ridge regression, the chance by logistic regression, on standardised signs."""
    x = np.array([one.seen for one in told])
    left = np.array([one.left for one in told])
    comes = np.isfinite(left)
    times = _linear(Ridge(alpha=10), x[comes], np.log(left[comes]), TIME)
    chance = _linear(LogisticRegression(C=0.3), x, comes.astype(int), COMING)
    scatter = np.log(left[comes]) - (times[0] + x[comes] @ times[1])
    early, late = np.quantile(scatter, [TWENTIETH, 1 - TWENTIETH])
    return Fit(times, chance, float(early), float(late))


def _linear(model: Any, x: Array, y: Array, names: tuple[str, ...]) -> tuple[float, Array]:
    chosen = [Course._fields.index(name) for name in names]
    centre, scale = x[:, chosen].mean(0), x[:, chosen].std(0) + 1e-9
    model.fit((x[:, chosen] - centre) / scale, y)
    weights = np.zeros(x.shape[1])
    weights[chosen] = np.ravel(model.coef_) / scale
    return float(np.ravel(model.intercept_)[0] - centre @ weights[chosen]), weights


def report(told: list[Told], limit: float) -> None:
    """Coverage where a forecast was issued, by models that never saw the recipe."""
    held, issued = 0, 0
    for known, unknown in GroupKFold(FOLDS).split(told, groups=[one.recipe for one in told]):
        model = fit([told[i] for i in known])
        for one in (told[i] for i in unknown):
            seen = np.array(one.seen)
            if 1 / (1 + math.exp(-(model.chance[0] + seen @ model.chance[1]))) >= limit:
                usual = model.steps[0] + seen @ model.steps[1]
                issued += 1
                held += bool(usual + model.early <= math.log(max(one.left, 1)) <= usual + model.late)
    print(
        f"chance {limit:.2f}: {issued} of {len(told)} alerts carry one, the interval held {held / max(issued, 1):.2f}"
    )


def main() -> None:
    """Print what belongs into the module, and how well it did on recipes it did not see."""
    arguments = commandline.parsed(commandline.parser(__doc__))
    used = [(run, case) for run, case in commandline.known(arguments) if case.kind not in ("diverged", "unclear")]
    told = [one for run, case in used for one in alerts_of(run, case)]
    model = fit(told)
    for name, (intercept, weights) in (("STEPS", model.steps), ("CHANCE", model.chance)):
        print(f"INTERCEPT_{name}, {name} = {intercept:.2f}, Course({', '.join(f'{w:.2f}' for w in weights)})")
    print(f"EARLY, LATE = {model.early:.2f}, {model.late:.2f}")
    for limit in (0.0, 0.7, 0.8, 0.85, 0.9):
        report(told, limit)


if __name__ == "__main__":
    main()
