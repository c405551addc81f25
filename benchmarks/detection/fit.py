"""Fits the weights of the risk model (``detection/risk.py``) on the tune half and on drawn recipes, and prints them.

    pip install -e '.[server,dev]'
    python benchmarks/detection/fit.py --from DIR [--seeds N]

One row per layer and look, of layers of healthy runs, of runs before their fault began, and of layers that collapse
after theirs; rows behind the collapse count a tenth. Born dead and diverged runs are left out. Beside the weights, by
cross-validation over recipes (six folds): at a threshold that so many of the sound runs pass on two looks in a row,
the share of onsets that pass it before the collapse, of high rates among them, and the median lead.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cases import Case
from corpus import FOLDER, cases
from runs import Run
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import Signs, signs

Array = np.ndarray[Any, np.dtype[Any]]
ALLOWED = (1, 3, 5, 8)
LATE_WEIGHT = 0.1
FIRST_LOOKS = 3
FOLDS = 6
DRAWN_WEIGHT = 0.2
"""A look at a drawn run counts so much: they are many, and of some nobody could say whether they are ill."""
SURVIVED = 0.3
"""Share of a layer lost at most where a fault counts as survived."""


class Series(NamedTuple):
    """The signs of one layer look by look, shape (looks, signs), and the steps of the looks."""

    case: Case
    layer_id: int
    steps: Array
    signs: Array

    def target(self) -> tuple[Array, Array]:
        """Whether the layer was being lost at each look, and how much the look counts; 0 where nothing is known."""
        after = self.steps > self.case.at
        share = DRAWN_WEIGHT if self.case.recipe.name.startswith("drawn") else 1.0
        if is_sound(self.case):
            return np.zeros(after.size), np.full(after.size, share)
        lost = after & (self.layer_id in self.case.collapses)
        weight = np.where(self.steps > self.case.collapse, LATE_WEIGHT, 1.0)
        return lost.astype(float), share * np.where(lost, weight, ~after)


def is_sound(case: Case) -> bool:
    """Whether no layer came near a collapse: also of a drawn recipe whose fault was survived."""
    return case.is_negative or (case.kind == "unclear" and bool(case.recipe.fault) and case.worst < SURVIVED)


def series_of(run: Run, case: Case) -> list[Series]:
    """Fold a run record by record and read the signs after each look."""
    state = detector.describe(detector.empty(), run.infos())
    found: dict[int, list[tuple[int, Signs]]] = {}
    for record in run.records():
        before = state.layers[record.layer_id].records if record.layer_id else 0
        state, _, _ = onset.advance(state, [record], Policy())
        if record.layer_id and state.layers[record.layer_id].records > before:
            found.setdefault(record.layer_id, []).append((record.step, signs(state.layers[record.layer_id], state.run)))
    return [
        Series(case, layer_id, np.array([step for step, _ in looks]), np.array([seen for _, seen in looks]))
        for layer_id, looks in found.items()
    ]


class Model(NamedTuple):
    """Intercept and weights in the units of the signs."""

    intercept: float
    weights: Array

    def of(self, values: Array) -> Array:
        """The log odds."""
        odds: Array = self.intercept + values @ self.weights
        return odds


def fit(chosen: list[Series], strength: float) -> Model:
    """A logistic regression on standardised signs."""
    targets = [one.target() for one in chosen]
    x, y, weight = (np.concatenate(parts) for parts in ([s.signs for s in chosen], *zip(*targets, strict=True)))
    centre, scale = x.mean(0), x.std(0) + 1e-9
    kept = weight > 0
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(((x - centre) / scale)[kept], y[kept], sample_weight=weight[kept])
    weights = model.coef_[0] / scale
    return Model(float(model.intercept_[0] - centre @ weights), weights)


def crossed(every: list[Series], strength: float) -> list[Array]:
    """The log odds of each series by a model that never saw its recipe."""
    owners = [one.case.recipe.base for one in every]
    odds: list[Array] = [np.zeros(0)] * len(every)
    for seen, unseen in GroupKFold(FOLDS).split(every, groups=owners):
        model = fit([every[i] for i in seen], strength)
        for i in unseen:
            odds[i] = model.of(every[i].signs)
    return odds


def passed(odds: Array) -> Array:
    """What is reached on two looks in a row, behind the first ones."""
    pairs = np.minimum(odds, np.concatenate([[-np.inf], odds[:-1]]))
    pairs[:FIRST_LOOKS] = -np.inf
    return pairs


def report(every: list[Series], odds: list[Array]) -> None:
    """What thresholds would have done."""
    peaks: dict[tuple[str, int], float] = {}
    onsets: dict[tuple[str, int], list[tuple[Series, Array]]] = {}
    for one, values in zip(every, odds, strict=True):
        key, pairs = (one.case.recipe.name, one.case.seed), passed(values)
        if is_sound(one.case):
            peaks[key] = max(peaks.get(key, -np.inf), float(pairs.max()))
        elif one.case.kind == "onset":
            onsets.setdefault(key, []).append((one, pairs))
    ranked = sorted(peaks.items(), key=lambda item: -item[1])
    for allowed in ALLOWED:
        limit = ranked[allowed][1]
        leads = {key: max(_lead(one, pairs, limit) for one, pairs in parts) for key, parts in onsets.items()}
        rates = [lead >= 0 for key, lead in leads.items() if onsets[key][0][0].case.recipe.group == "high_rate"]
        print(
            f"  {allowed} of {len(ranked)} sound runs above {1 / (1 + np.exp(-limit)):.3f}: "
            f"{np.mean([lead >= 0 for lead in leads.values()]):.2f} of onsets before the collapse, "
            f"{np.mean(rates):.2f} of high rates; median lead {np.median([max(v, 0) for v in leads.values()]):.2f}"
        )
    print("  highest of sound runs: " + ", ".join(f"{name} s{seed} {odds:+.1f}" for (name, seed), odds in ranked[:8]))


def _lead(one: Series, pairs: Array, limit: float) -> float:
    """Of the time to collapse; below 0 where it came too late or not at all."""
    told = one.steps[(pairs > limit) & (one.steps > one.case.at)]
    if not told.size:
        return -1.0
    return float((one.case.collapse - told[0]) / max(one.case.collapse - one.case.at, 1))


def main() -> None:
    """Fit, and say how well it would have done on recipes it did not see."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--strength", type=float, default=0.1, help="inverse of the regularisation")
    options = parser.parse_args()
    known = [pair for part in ("tune", "drawn") for pair in cases(part, options.source, options.seeds)]
    used = [(run, case) for run, case in known if is_sound(case) or case.kind in ("onset", "abrupt")]
    every = [one for run, case in used for one in series_of(run, case)]
    model = fit(every, options.strength)
    print(f"{len(used)} runs, {len(every)} layers, {sum(one.steps.size for one in every)} looks")
    print(f"INTERCEPT = {model.intercept:.2f}")
    print(
        "WEIGHTS = Signs(" + ", ".join(f"{n}={w:.2f}" for n, w in zip(Signs._fields, model.weights, strict=True)) + ")"
    )
    report(every, crossed(every, options.strength))


if __name__ == "__main__":
    main()
