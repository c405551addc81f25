"""Published rules for dead ReLUs, run over the very records that our detector reads: every look is one evaluation.

- SageMaker DeadRelu: a unit is dead if active on less than 1 % of a look, a layer if more than half of its units are.
  How activity is averaged is not published: over examples and positions here. It is asked at every look, not at its
  default of every 500th step.
- τ-dormant (ReDo), τ 0.1: a unit whose mean activation is at most a tenth of the layer's mean, more than half of the
  units. The mean activation is not sent: it is that of a Gaussian of the pre-activation's mean and variance, 0 if the
  unit was never active.
- AUTOTRAINER: the share of gradient entries that are exactly zero is at least 0.7. Gradients are not sent: an entry of
  a layer's weights is zero where its unit, or the unit of the layer before that it reads, was silent on the whole
  look; weights that feed no watched layer are left out, and so is its second condition (no convergence).
- Zero fraction: more than 90 % of a layer's outputs are zero.
- TheDeepChecker: a unit is dead if the 95th percentile of its activation over ten batches is below 1e-5, a layer if
  more than half are. That is: active on less than 5 % of ten looks in a row, which are further apart than its batches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np
from alarms import Alarm

from relumine.table import Array, Row
from relumine.wire import LayerInfo

Rule: TypeAlias = Callable[[Sequence[LayerInfo], Sequence[Row]], list[Alarm]]
Verdicts: TypeAlias = Iterator[tuple[int, int, bool]]
"""(step, layer id, whether the rule speaks)."""


def share_active(row: Row) -> Array:
    """Per unit the share of a look on which it was active, over positions where there are any."""
    columns = row.arrays()
    if "active_positions" in columns:
        return columns["active_positions"].astype(np.float64) / max(row.n_positions, 1)
    return columns["active"].astype(np.float64) / max(row.n_examples, 1)


def sagemaker(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """DeadRelu with threshold_inactivity=1.0 and threshold_layer=50.0."""
    return _alarms((row.step, row.layer_id, (share_active(row) < 0.01).mean() > 0.5) for row in _looks(layers, records))


def dormant(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """ReDo's score with τ = 0.1."""
    return _alarms((row.step, row.layer_id, _dormant_share(row) > 0.5) for row in _looks(layers, records))


def zero_fraction(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """More than 90 % zeros."""
    return _alarms((row.step, row.layer_id, share_active(row).mean() < 0.1) for row in _looks(layers, records))


def zero_gradient(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """AUTOTRAINER's ratio over the whole network: an alarm of the run."""
    infos = {info.layer_id: info for info in layers}
    looks = groupby(_looks(layers, records), key=lambda row: row.step)
    return _alarms((step, 0, _zero_ratio(infos, list(rows)) >= 0.7) for step, rows in looks)


def deep_checker(layers: Sequence[LayerInfo], records: Sequence[Row]) -> list[Alarm]:
    """TheDeepChecker's dead-unit ratio."""
    return _alarms(_percentiles(_looks(layers, records)))


def _percentiles(rows: Iterator[Row]) -> Verdicts:
    past: dict[int, deque[Array]] = {}
    for row in rows:
        window = past.setdefault(row.layer_id, deque(maxlen=10))
        window.append(share_active(row))
        rare = np.mean(list(window), axis=0) < 0.05
        yield row.step, row.layer_id, len(window) == 10 and bool(rare.mean() > 0.5)


def _looks(layers: Sequence[LayerInfo], records: Sequence[Row]) -> Iterator[Row]:
    """Records with units of activations that can die."""
    mortal = {info.layer_id for info in layers if info.can_die}
    return (row for row in records if row.layer_id in mortal and row.has("active") and row.n_examples)


def _alarms(verdicts: Verdicts) -> list[Alarm]:
    """An alarm is open from the first look at which the rule speaks until the first at which it does not."""
    alarms: list[Alarm] = []
    now: dict[int, Alarm] = {}
    for step, layer_id, speaks in verdicts:
        if speaks and layer_id not in now:
            now[layer_id] = Alarm(step, layer_id)
            alarms.append(now[layer_id])
        elif not speaks and layer_id in now:
            now.pop(layer_id).closed = step
    return alarms


def _dormant_share(row: Row) -> float:
    columns = row.arrays()
    mean, sigma = columns["mean"].astype(np.float64), np.sqrt(columns["var"].astype(np.float64))
    m = mean / np.maximum(sigma, 1e-12)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in m])
    height = mean * below + sigma * np.exp(-0.5 * m * m) / math.sqrt(2 * math.pi)
    height = np.where(columns["active"] > 0, np.maximum(height, 0.0), 0.0)
    return float((height <= 0.1 * (height.mean() + 1e-9)).mean())


def _zero_ratio(infos: dict[int, LayerInfo], rows: list[Row]) -> float:
    """Weighted by the entries of each layer; the layer before it is the last whose units divide what it reads."""
    zero = entries = 0.0
    before: tuple[int, float] | None = None
    for row in rows:
        info, silent = infos[row.layer_id], float((row.arrays()["active"] == 0).mean())
        fan_in = info.fan_in or 1
        reads = before is not None and info.fan_in is not None and fan_in % before[0] == 0
        alive = (1 - silent) * (1 - before[1] if reads and before is not None else 1.0)
        zero += (1 - alive) * fan_in * info.units
        entries += fan_in * info.units
        before = (info.units, silent)
    return zero / entries if entries else 0.0


RULES: dict[str, Rule] = {
    "SageMaker": sagemaker,
    "τ-dormant": dormant,
    "AUTOTRAINER": zero_gradient,
    "zeros > 90 %": zero_fraction,
    "DeepChecker": deep_checker,
}
