"""Fit the risk model (``relumine_server.detection.risk``) on the splits for development; print its weights.

    pip install -e '.[server,dev]'
    python -m research.fitting.risk --from DIR [--seeds N] [--folds N]

One row per layer and sampled step: of layers of healthy runs, of runs before their fault began, and of layers that
collapse after it; rows after the collapse count a tenth. Born dead and diverged runs are left out. Printed beside the
weights, by cross-validation over recipes: at a threshold that so many of the sound runs exceed on two consecutive
sampled steps, the share of onsets that exceed it before the collapse, of high rates among them, and the median lead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import RiskFeatures, risk_features
from research.corpus.cases import Case
from research.corpus.catalogue import Split
from research.corpus.collect import FOLDER, load_cases
from research.corpus.random_recipes import is_random
from research.corpus.run_store import Run

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
RunKey: TypeAlias = tuple[str, int]
"""Recipe and seed."""

SPLITS: tuple[Split, ...] = ("tune", "kinds", "further_kinds", "random")
FALSE_ALARMS = (1, 3, 5, 8)
"""Numbers of sound runs above a threshold."""
LATE_WEIGHT = 0.1
FIRST_STEPS = 3
"""Sampled steps that a threshold is not compared with."""
FOLDS = 6
RANDOM_WEIGHT = 0.2
"""Weight of a sampled step of a random recipe: they are many, and of some it is unclear whether they are faulty."""
SURVIVED = 0.3
"""Largest lost share of a layer with which a fault counts as survived."""


class Series(NamedTuple):
    """The features of one layer over its sampled steps, shape (steps, features)."""

    case: Case
    layer_id: int
    steps: Array
    features: Array

    @property
    def key(self) -> RunKey:
        """Recipe and seed of the run."""
        return self.case.recipe.name, self.case.seed

    def target(self) -> tuple[Array, Array]:
        """Return whether the layer was being lost at each step, and the weight of the step; 0 if that is unclear."""
        is_faulty = self.steps > self.case.fault_step
        weight = RANDOM_WEIGHT if is_random(self.case.recipe) else 1.0
        if is_sound(self.case):
            return np.zeros(is_faulty.size), np.full(is_faulty.size, weight)
        is_lost = is_faulty & (self.layer_id in self.case.collapses)
        weight_if_lost = np.where(self.steps > self.case.collapse, LATE_WEIGHT, 1.0)
        return is_lost.astype(float), weight * np.where(is_lost, weight_if_lost, ~is_faulty)


def is_sound(case: Case) -> bool:
    """Return whether no layer came near a collapse; true also of a random recipe whose fault was survived."""
    return case.is_negative or (case.kind == "unclear" and bool(case.recipe.fault) and case.worst < SURVIVED)


def series_of(run: Run, case: Case) -> list[Series]:
    """Advance the detector record by record and compute the features after each sampled step."""
    state = detection_state.describe(detection_state.empty(), run.infos())
    steps: dict[int, list[int]] = {}
    values: dict[int, list[RiskFeatures]] = {}
    for record in run.records():
        layer_id = record.layer_id
        previous_records = state.layers[layer_id].records if layer_id else 0
        state, _readings, _findings = detector.advance(state, [record], Policy())
        if layer_id and state.layers[layer_id].records > previous_records:
            steps.setdefault(layer_id, []).append(record.step)
            values.setdefault(layer_id, []).append(risk_features(state.layers[layer_id], state.run))
    return [Series(case, layer_id, np.array(steps[layer_id]), np.array(values[layer_id])) for layer_id in steps]


class Model(NamedTuple):
    """Intercept and weights in the units of the features."""

    intercept: float
    weights: Array

    def log_odds(self, values: Array) -> Array:
        """Return the log odds of a loss."""
        log_odds: Array = self.intercept + values @ self.weights
        return log_odds


def fit(series: list[Series], strength: float) -> Model:
    """Fit a logistic regression on standardized features."""
    targets = [one_layer.target() for one_layer in series]
    x = np.concatenate([one_layer.features for one_layer in series])
    y = np.concatenate([is_lost for is_lost, _ in targets])
    weight = np.concatenate([weights for _, weights in targets])
    centre = x.mean(0)
    scale = x.std(0) + 1e-9
    is_used = weight > 0
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(((x - centre) / scale)[is_used], y[is_used], sample_weight=weight[is_used])
    weights = model.coef_[0] / scale
    return Model(float(model.intercept_[0] - centre @ weights), weights)


def cross_validate(series: list[Series], strength: float, folds: int) -> list[Array]:
    """Return the log odds of each series by a model that was fitted without its recipe."""
    recipes = [one_layer.case.recipe.base for one_layer in series]
    odds: list[Array] = [np.zeros(0)] * len(series)
    for train_rows, test_rows in GroupKFold(folds).split(series, groups=recipes):
        model = fit([series[row] for row in train_rows], strength)
        for row in test_rows:
            odds[row] = model.log_odds(series[row].features)
    return odds


def twice_in_a_row(odds: Array) -> Array:
    """Return the value that is reached on two consecutive sampled steps, after the first ones."""
    pairs: Array = np.minimum(odds, np.concatenate([[-np.inf], odds[:-1]]))
    pairs[:FIRST_STEPS] = -np.inf
    return pairs


def print_thresholds(series: list[Series], odds: list[Array]) -> None:
    """Print what thresholds would have done."""
    peaks: dict[RunKey, float] = {}
    onsets: dict[RunKey, list[tuple[Series, Array]]] = {}
    for one_layer, values in zip(series, odds, strict=True):
        key = one_layer.key
        pairs = twice_in_a_row(values)
        if is_sound(one_layer.case):
            peaks[key] = max(peaks.get(key, -np.inf), float(pairs.max()))
        elif one_layer.case.kind == "onset":
            onsets.setdefault(key, []).append((one_layer, pairs))
    ranked = sorted(peaks.items(), key=lambda peak: -peak[1])
    for false_alarms in FALSE_ALARMS:
        if false_alarms < len(ranked):
            _print_threshold(ranked[false_alarms][1], false_alarms, len(ranked), onsets)
    highest = ", ".join(f"{name} s{seed} {value:+.1f}" for (name, seed), value in ranked[:8])
    print(f"  highest of sound runs: {highest}")


def _print_threshold(
    limit: float, false_alarms: int, sound: int, onsets: dict[RunKey, list[tuple[Series, Array]]]
) -> None:
    leads = {key: max(_lead(layer, pairs, limit) for layer, pairs in layers) for key, layers in onsets.items()}
    of_high_rates = [lead for key, lead in leads.items() if onsets[key][0][0].case.recipe.group == "high_rate"]
    print(
        f"  {false_alarms} of {sound} sound runs above {1 / (1 + np.exp(-limit)):.3f}: "
        f"{np.mean([lead >= 0 for lead in leads.values()]):.2f} of onsets before the collapse, "
        f"{np.mean([lead >= 0 for lead in of_high_rates]):.2f} of high rates; "
        f"median lead {np.median([max(lead, 0) for lead in leads.values()]):.2f}"
    )


def _lead(series: Series, pairs: Array, limit: float) -> float:
    """Return the lead as a share of the time to collapse; below 0 if it came too late or not at all."""
    case = series.case
    above = series.steps[(pairs > limit) & (series.steps > case.fault_step)]
    if not above.size:
        return -1.0
    return float((case.collapse - above[0]) / max(case.collapse - case.fault_step, 1))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--seeds", type=int, default=100, help="use at most so many seeds of the stored runs")
    options.add_argument("--strength", type=float, default=0.1, help="inverse of the regularization")
    options.add_argument("--folds", type=int, default=FOLDS)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the weights, and how well the model did on other recipes."""
    options = parser().parse_args(arguments)
    runs = 0
    series: list[Series] = []
    for split in SPLITS:
        for run, case in load_cases(split, options.source, options.seeds):
            if is_sound(case) or case.kind in ("onset", "abrupt"):
                runs += 1
                series += series_of(run, case)
    if not series:
        raise SystemExit(f"no runs in {options.source}: train them with python -m research.corpus.collect")
    model = fit(series, options.strength)
    print(f"{runs} runs, {len(series)} layers, {sum(layer.steps.size for layer in series)} rows")
    print(f"RISK_INTERCEPT = {model.intercept:.2f}")
    named = zip(RiskFeatures._fields, model.weights, strict=True)
    print("RISK_WEIGHTS = RiskFeatures(" + ", ".join(f"{name}={weight:.2f}" for name, weight in named) + ")")
    print_thresholds(series, cross_validate(series, options.strength, options.folds))


if __name__ == "__main__":
    main()
