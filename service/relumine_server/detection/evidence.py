"""Evidence of the units: each record against the unit's own past, for many layers and records in one array.

Only facts per record leave this module; ``decisions`` decides what they mean. The numbers of a layer do not depend on
the other layers and records of its batch, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from relumine_server.detection import state
from relumine_server.detection.batch import Flags, Floats, LayerBatch, LayerRecord
from relumine_server.detection.classification import classify_units, silence_nats
from relumine_server.detection.policy import Policy
from relumine_server.detection.unit_history import RATES, update_shifts, update_silences_and_rates

MAX_HEADROOM = 6.0
"""Standard deviations; beyond them a unit is just alive, or just dead."""
WEAKEST_SHARE = 0.1
"""Share of a layer's units, those with the least headroom, that is watched."""
WEAKEST_MIN_UNITS = 2
"""Units that lie below the watched headroom at least."""
MAX_RATE = np.float32(0.999)
"""Cap of a rate, so that the log of its chance to be silent is finite."""
MAX_KILL_RATIO = np.float32(100)


class RecordStatistics(NamedTuple):
    """Statistics of one record of one layer. Counts are of units; ``eligible`` units could still be lost.

    ``silent``: not active in this record. ``dying`` (also with the stricter ``dense`` and ``strict`` evidence) includes
    ``dead``, and counts eligible units. ``dying_jointly`` counts those with evidence that is enough only where many of
    the layer have it. ``all_dying`` and ``all_dead`` are exclusive, and count all units, those of the baseline too.
    ``expected_silent`` is the number of units that chance alone would leave silent. ``displacement``, ``headroom`` and
    ``bias_sigma`` are in standard deviations of a unit's pre-activation, ``sigma`` is that of the median unit.
    """

    units: int
    eligible: int
    silent: int
    dying: int
    dying_dense: int
    dying_strict: int
    dying_jointly: int
    dead: int
    born_dead: int
    all_dying: int
    all_dead: int
    active_rate: float
    expected_silent: float
    median_rate: float
    kill_ratio: float
    displacement: float
    mean_bias: float
    headroom: float
    bias_sigma: float
    sigma: float

    @property
    def excess_silence(self) -> float:
        """Observed minus expected silent share."""
        return self.silent / self.units - self.expected_silent / self.units


class _TypicalValues(NamedTuple):
    """Quantiles over the units of one layer; NaN where no unit has the value."""

    median_rate: float
    kill_ratio: float
    displacement: float
    headroom: float
    sigma: float


class FoldedRounds:
    """Rounds of records folded into the units: the statistics of each record, and the units after each round.

    ``statistics`` are by round and layer id.
    """

    def __init__(self, statistics: Sequence[Mapping[int, RecordStatistics]], batch: LayerBatch | None = None) -> None:
        self.statistics = statistics
        self._batch = batch

    def write_units(self, units: state.Units, number: int) -> None:
        """Write the units as they are after a round into ``units``."""
        if self._batch is not None:
            units[:, self._batch.unit_index] = self._batch.by_round(self._batch.units)[:, number]


def fold_rounds(units: state.Units, rounds: Sequence[Sequence[LayerRecord]], policy: Policy) -> FoldedRounds:
    """Fold rounds of records into ``units``, which is not changed. Each has the same distinct layers, or none."""
    if not rounds[0]:
        return FoldedRounds([{}] * len(rounds))
    batch = LayerBatch(units, rounds)
    statistics = iter(_fold(batch, policy))
    by_round = [{layer.record.layer_id: next(statistics) for layer in layers} for layers in rounds]
    return FoldedRounds(by_round, batch)


def _fold(batch: LayerBatch, policy: Policy) -> list[RecordStatistics]:
    """Write the units after each record, and return the statistics of all records."""
    active = batch.column("active")
    is_active = active > 0
    update_silences_and_rates(batch, policy)
    expected_silent = _silence_probability(batch, policy)
    nats = silence_nats(batch, policy)
    rate = _active_rate(batch.units[RATES])
    median_rates = batch.quantile(rate, rate > 0, 0.5)
    flags = classify_units(batch, nats, median_rates, policy)
    update_shifts(batch)
    counts = batch.count_units([~is_active, *flags]).T.tolist()
    totals = batch.sum_units([active, expected_silent, batch.column("bias")]).T.tolist()
    is_eligible = flags[0]
    has_max = _units_with_max(batch)
    headrooms = _headrooms(batch, is_eligible & has_max)
    sigmas = batch.quantile(batch.sigma(), is_eligible, 0.5)
    kill_ratios = _kill_ratios(batch, is_active & has_max)
    columns = (median_rates, kill_ratios, _displacements(batch, is_active), headrooms, sigmas)
    typical = [_TypicalValues._make(values) for values in zip(*columns, strict=True)]
    return list(map(_record_statistics, batch.layers, counts, totals, typical))


def _record_statistics(
    layer: LayerRecord, counts: list[int], totals: list[float], typical: _TypicalValues
) -> RecordStatistics:
    """Return the statistics of a record; ``counts`` and ``totals`` are in the order of ``_fold``."""
    n_examples = max(layer.record.n_examples, 1)
    units = layer.memory.tracked_units
    mean_bias = totals[2] / units if layer.record.has("bias") else math.nan
    silent, eligible, dying, dense, strict, jointly, dead, born_dead, all_dying, all_dead = counts
    return RecordStatistics(
        units=units,
        eligible=eligible,
        silent=silent,
        dying=dying,
        dying_dense=dense,
        dying_strict=strict,
        dying_jointly=jointly,
        dead=dead,
        born_dead=born_dead,
        all_dying=all_dying,
        all_dead=all_dead,
        active_rate=totals[0] / (n_examples * units),
        expected_silent=totals[1],
        median_rate=typical.median_rate,
        kill_ratio=0.0 if math.isnan(typical.kill_ratio) else typical.kill_ratio,
        displacement=typical.displacement,
        mean_bias=mean_bias,
        headroom=typical.headroom,
        bias_sigma=_in_sigma(mean_bias, typical.sigma),
        sigma=typical.sigma,
    )


def _in_sigma(value: float, sigma: float) -> float:
    """Return a value in standard deviations, within ``±MAX_HEADROOM``; NaN where either is unknown."""
    if math.isnan(value) or math.isnan(sigma):
        return math.nan
    return max(-MAX_HEADROOM, min(MAX_HEADROOM, value / max(sigma, 1e-6)))


def _active_rate(rates: Floats) -> Floats:
    """Return each unit's own active rate, which rests at its last activation; 0 where it was never active.

    ``rates`` are the rows ``RATES`` of the units.
    """
    active, examples = rates
    rate: Floats = active / np.maximum(examples, np.float32(1))
    return rate


def _silence_probability(batch: LayerBatch, policy: Policy) -> Floats:
    """Return each unit's chance to be silent on a record, by its rate before it; 1 where it was never active."""
    rate = np.minimum(_active_rate(batch.earlier_units(RATES)).ravel(), MAX_RATE)
    effects = batch.design_effects(policy.positions_design_effect)
    n_effective = batch.per_unit(np.minimum(batch.n_examples, 10**6) / effects)
    probability: Floats = np.exp(n_effective * np.log1p(-rate))
    return probability


def _units_with_max(batch: LayerBatch) -> Flags:
    """Return the units with a batch maximum and a variance: a column that was not sent is not a column of zeros."""
    return batch.flag_units([layer.record.has("max") and layer.record.has("var") for layer in batch.layers])


def _kill_ratios(batch: LayerBatch, is_measured: Flags) -> list[float]:
    """Return, per layer, the upper decile over units of the drop of the mean by one update, over the maximum."""
    top = np.maximum(batch.column("max"), np.float32(0.01) * batch.sigma())
    drop = np.maximum(-batch.column("update_shift"), np.float32(0))
    ratio = np.minimum(drop / np.maximum(top, np.float32(1e-12)), MAX_KILL_RATIO)
    return batch.quantile(ratio, is_measured, 0.9)


def _headrooms(batch: LayerBatch, is_measured: Flags) -> list[float]:
    """Return, per layer, the headroom of its weakest tenth.

    A unit's headroom is its batch maximum in standard deviations: how far it is from being silent.
    """
    top = batch.column("max") / np.maximum(batch.sigma(), np.float32(1e-6))
    # ``quantile`` takes non-negative values only.
    lifted: Floats = np.clip(top, -MAX_HEADROOM, MAX_HEADROOM).astype(np.float32) + np.float32(MAX_HEADROOM)
    weakest = batch.quantile(lifted, is_measured, WEAKEST_SHARE, WEAKEST_MIN_UNITS)
    return [value - MAX_HEADROOM for value in weakest]


def _displacements(batch: LayerBatch, is_active: Flags) -> list[float]:
    """Return, per layer, the median over active units of how far one update moved the mean, in standard deviations."""
    sigma = batch.sigma()
    shift = np.abs(batch.column("update_shift"))
    is_measured = is_active & (sigma > 0) & (shift > 0)
    ratio = (shift / np.maximum(sigma, np.float32(1e-12))).astype(np.float32)
    return batch.quantile(ratio, is_measured, 0.5)
