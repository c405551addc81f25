"""Published rules for dead ReLUs on the records that our detector reads: every sampled step is one evaluation.

- SageMaker DeadRelu: a unit is dead if it is active on less than 1 % of a sampled step, a layer if more than half of
  its units are. How activity is averaged is not published: over examples and positions here. It is evaluated at every
  sampled step, not at its default of every 500th step.
- τ-dormant (ReDo), τ 0.1: a unit is dormant if its mean activation is at most a tenth of the layer's mean, a layer if
  more than half of its units are. The mean activation is not sent: it is that of a Gaussian with the pre-activation's
  mean and variance, 0 if the unit was never active.
- AUTOTRAINER: the share of gradient entries that are exactly zero is at least 0.7. Gradients are not sent: an entry of
  a layer's weights is zero if its unit, or the unit of the previous layer that it reads, was silent on the whole
  sampled step; weights that feed no watched layer are left out, and so is its second condition (no convergence).
- Zero fraction: more than 90 % of a layer's outputs are zero.
- TheDeepChecker: a unit is dead if the 95th percentile of its activation over ten batches is below 1e-5, a layer if
  more than half of its units are. That is: active on less than 5 % of ten consecutive sampled steps, which are further
  apart than its batches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np

from relumine.schemas.record_table import Array, Row
from relumine.schemas.upload import LayerInfo
from research.scoring.alarms import Alarm

Rule: TypeAlias = Callable[[Sequence[LayerInfo], Sequence[Row]], list[Alarm]]
Evaluations: TypeAlias = Iterator[tuple[int, int, bool]]
"""(step, layer id, whether the rule fires)."""


def active_share(row: Row) -> Array:
    """Return per unit the share of a sampled step on which it was active, over positions if there are any."""
    columns = row.arrays()
    if "active_positions" in columns:
        return columns["active_positions"].astype(np.float64) / max(row.n_positions, 1)
    return columns["active"].astype(np.float64) / max(row.n_examples, 1)


def sagemaker(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """Apply DeadRelu with threshold_inactivity=1.0 and threshold_layer=50.0."""
    rows = _unit_rows(layers, records)
    return _alarms((row.step, row.layer_id, (active_share(row) < 0.01).mean() > 0.5) for row in rows)


def dormant(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """Apply ReDo's score with τ = 0.1."""
    rows = _unit_rows(layers, records)
    return _alarms((row.step, row.layer_id, _dormant_share(row) > 0.5) for row in rows)


def zero_fraction(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """Fire at more than 90 % zeros."""
    rows = _unit_rows(layers, records)
    return _alarms((row.step, row.layer_id, active_share(row).mean() < 0.1) for row in rows)


def zero_gradient(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """Apply AUTOTRAINER's ratio over the whole network: an alarm of the run."""
    infos = {info.layer_id: info for info in layers}
    steps = groupby(_unit_rows(layers, records), key=lambda row: row.step)
    return _alarms((step, 0, _zero_gradient_share(infos, list(rows)) >= 0.7) for step, rows in steps)


def deep_checker(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """Apply TheDeepChecker's dead-unit ratio."""
    return _alarms(_deep_checker_evaluations(_unit_rows(layers, records)))


def _deep_checker_evaluations(rows: Iterator[Row]) -> Evaluations:
    windows: dict[int, deque[Array]] = {}
    for row in rows:
        window = windows.setdefault(row.layer_id, deque(maxlen=10))
        window.append(active_share(row))
        is_rare = np.mean(list(window), axis=0) < 0.05
        yield row.step, row.layer_id, len(window) == 10 and bool(is_rare.mean() > 0.5)


def _unit_rows(layers: Sequence[LayerInfo], records: Sequence[Row]) -> Iterator[Row]:
    """Return the records with units of activations that can die."""
    mortal = {info.layer_id for info in layers if info.can_die}
    return (row for row in records if row.layer_id in mortal and row.has("active") and row.n_examples)


def _alarms(evaluations: Evaluations) -> list[Alarm]:
    """Return alarms from the first evaluation at which the rule fires until the first at which it does not."""
    alarms: list[Alarm] = []
    active: dict[int, Alarm] = {}
    for step, layer_id, fires in evaluations:
        if fires and layer_id not in active:
            active[layer_id] = Alarm(step, layer_id)
            alarms.append(active[layer_id])
        elif not fires and layer_id in active:
            active.pop(layer_id).resolved = step
    return alarms


def _dormant_share(row: Row) -> float:
    columns = row.arrays()
    mean = columns["mean"].astype(np.float64)
    sigma = np.sqrt(columns["var"].astype(np.float64))
    m = mean / np.maximum(sigma, 1e-12)
    positive_share = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in m])
    activation = mean * positive_share + sigma * np.exp(-0.5 * m * m) / math.sqrt(2 * math.pi)
    activation = np.where(columns["active"] > 0, np.maximum(activation, 0.0), 0.0)
    return float((activation <= 0.1 * (activation.mean() + 1e-9)).mean())


def _zero_gradient_share(infos: dict[int, LayerInfo], rows: list[Row]) -> float:
    """Return the share of weights with a zero gradient.

    The layer that a layer reads is the previous one if its units divide the layer's fan-in.
    """
    zero = 0.0
    entries = 0.0
    previous: tuple[int, float] | None = None
    for row in rows:
        info = infos[row.layer_id]
        silent = float((row.arrays()["active"] == 0).mean())
        fan_in = info.fan_in or 1
        alive = 1 - silent
        if previous is not None and info.fan_in is not None:
            previous_units, previous_silent = previous
            if fan_in % previous_units == 0:
                alive *= 1 - previous_silent
        zero += (1 - alive) * fan_in * info.units
        entries += fan_in * info.units
        previous = (info.units, silent)
    return zero / entries if entries else 0.0


RULES: dict[str, Rule] = {
    "SageMaker": sagemaker,
    "τ-dormant": dormant,
    "AUTOTRAINER": zero_gradient,
    "zeros > 90 %": zero_fraction,
    "DeepChecker": deep_checker,
}
