"""Fit the forecast (``relumine_server.detection.risk``) on the dying alerts of the tune split; print its constants.

    python -m research.fitting.forecast [--from DIR] [--seeds N] [--folds N]

An alert is each ``dying`` raised or changed before its layer collapsed; the outcome is the steps until then, or never.
Printed beside the constants, by cross-validation over recipes: how often the stated interval covered the collapse where
a forecast was issued (never is not covered), and how many alerts have one. ``research.scoring.forecasts`` scores them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import ForecastFeatures, forecast_features, risk_features
from research import cli
from research.corpus.cases import Case
from research.corpus.run_store import Run

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
FOLDS = 8
TWENTIETH = 0.05
LIMITS = (0.0, 0.7, 0.8, 0.85, 0.9)
"""Chances from which a forecast is issued, to choose from."""
STEPS_FEATURES = ("risk_log_odds", "log_kill_ratio")
COLLAPSE_FEATURES = ("log_kill_ratio", "headroom", "log_records")
"""Inputs of each model; others did not improve it (forward selection by the same cross-validation)."""


class DyingAlert(NamedTuple):
    """One alert: its features, the steps until the collapse (infinite: never), and its recipe."""

    features: ForecastFeatures
    steps_left: float
    recipe: str


class Fit(NamedTuple):
    """Both models in the units of the features, as (intercept, weights)."""

    steps: tuple[float, Array]
    collapse: tuple[float, Array]
    early: float
    late: float


def alerts_of(run: Run, case: Case) -> list[DyingAlert]:
    """Return the alerts of one run, with features from the detector's state after each record."""
    state = detection_state.describe(detection_state.empty(), run.infos())
    alerts = []
    for record in run.records():
        state, _readings, findings = detector.advance(state, [record], Policy())
        for finding in findings:
            collapse = case.collapses.get(finding.layer_id, math.inf)
            if finding.kind == "dying" and finding.transition != "resolved" and collapse > finding.step:
                memory = state.layers[finding.layer_id]
                log_kill_ratio = risk_features(memory, state.run).log_kill_ratio
                features = forecast_features(memory.risk, log_kill_ratio, memory.headroom, memory.records)
                alerts.append(DyingAlert(features, collapse - finding.step, case.recipe.base))
    return alerts


def fit(alerts: list[DyingAlert]) -> Fit:
    """Fit the time by ridge regression and the chance by logistic regression, on standardized features."""
    x = np.array([alert.features for alert in alerts])
    steps_left = np.array([alert.steps_left for alert in alerts])
    collapses = np.isfinite(steps_left)
    log_steps = np.log(steps_left[collapses])
    steps = _fit_linear(Ridge(alpha=10), x[collapses], log_steps, STEPS_FEATURES)
    collapse = _fit_linear(LogisticRegression(C=0.3), x, collapses.astype(int), COLLAPSE_FEATURES)
    residuals = log_steps - (steps[0] + x[collapses] @ steps[1])
    early, late = np.quantile(residuals, [TWENTIETH, 1 - TWENTIETH])
    return Fit(steps, collapse, float(early), float(late))


def _fit_linear(model: Any, x: Array, y: Array, names: tuple[str, ...]) -> tuple[float, Array]:
    columns = [ForecastFeatures._fields.index(name) for name in names]
    centre = x[:, columns].mean(0)
    scale = x[:, columns].std(0) + 1e-9
    model.fit((x[:, columns] - centre) / scale, y)
    weights = np.zeros(x.shape[1])
    weights[columns] = np.ravel(model.coef_) / scale
    return float(np.ravel(model.intercept_)[0] - centre @ weights[columns]), weights


def print_coverage(alerts: list[DyingAlert], limit: float, folds: int) -> None:
    """Print the coverage where a forecast is issued, by models that were fitted without the recipe."""
    covered = 0
    issued = 0
    for train_rows, test_rows in GroupKFold(folds).split(alerts, groups=[alert.recipe for alert in alerts]):
        model = fit([alerts[row] for row in train_rows])
        for alert in (alerts[row] for row in test_rows):
            x = np.array(alert.features)
            odds = model.collapse[0] + x @ model.collapse[1]
            if 1 / (1 + math.exp(-odds)) < limit:
                continue
            middle = model.steps[0] + x @ model.steps[1]
            issued += 1
            covered += bool(middle + model.early <= math.log(max(alert.steps_left, 1)) <= middle + model.late)
    print(f"chance {limit:.2f}: {issued} of {len(alerts)} alerts have a forecast, ", end="")
    print(f"the interval covered {covered / max(issued, 1):.2f}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = cli.corpus_parser(__doc__, splits=("tune",))
    options.add_argument("--folds", type=int, default=FOLDS)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the constants of the module, and how well they did on other recipes."""
    namespace = cli.parse(parser(), arguments)
    alerts = []
    for run, case in cli.load_pairs(namespace):
        if case.kind not in ("diverged", "unclear"):
            alerts += alerts_of(run, case)
    model = fit(alerts)
    for name, (intercept, weights) in (("LOG_STEPS", model.steps), ("COLLAPSE", model.collapse)):
        print(f"{name}_INTERCEPT = {intercept:.2f}")
        named = zip(ForecastFeatures._fields, weights, strict=True)
        values = ", ".join(f"{feature}={weight:.2f}" for feature, weight in named)
        print(f"{name}_WEIGHTS = ForecastFeatures({values})")
    print(f"LOG_STEPS_LOW = {model.early:.2f}\nLOG_STEPS_HIGH = {model.late:.2f}")
    for limit in LIMITS:
        print_coverage(alerts, limit, namespace.folds)


if __name__ == "__main__":
    main()
