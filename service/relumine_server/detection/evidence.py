"""Evidence of the units: each record against the unit's own past, for many layers in one array.

Only facts per layer leave this module; ``decisions`` decides what they mean. The numbers of a layer do not depend on
the other layers of its batch, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from relumine_server.detection import state
from relumine_server.detection.batch import Flags, Floats, Ints, LayerBatch, LayerRecord
from relumine_server.detection.classification import classify_units, design_effect, silence_nats
from relumine_server.detection.policy import Policy

MAX_HEADROOM = 6.0
"""Standard deviations; beyond them a unit is just alive, or just dead."""
WEAKEST_SHARE = 0.1
"""Share of a layer's units, those with the least headroom, that is watched."""
WEAKEST_MIN_UNITS = 2
"""Units that lie below the watched headroom at least."""
MAX_RATE = np.float32(0.999)
"""Cap of a rate, so that the log of its chance to be silent is finite."""
SHIFT_DECAY = np.float32(0.9)
"""Factor per record of the sums of shifts: they cover about ten records."""
MAX_KILL_RATIO = np.float32(100)


class RecordStatistics(NamedTuple):
    """Statistics of one record of one layer. Counts are of units; ``eligible`` units could still be lost.

    ``silent``: not active in this record. ``dying`` (also with the stricter ``dense`` and ``strict`` evidence) includes
    ``dead``, and counts eligible units. ``all_dying`` and ``all_dead`` are exclusive, and count all units, those of the
    baseline too. ``expected_silent`` is the number of units that chance alone would leave silent. ``displacement``,
    ``headroom`` and ``bias_sigma`` are in standard deviations of a unit's pre-activation.
    """

    units: int
    eligible: int
    silent: int
    dying: int
    dying_dense: int
    dying_strict: int
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


def fold_records(units: state.Units, layers: Sequence[LayerRecord], policy: Policy) -> list[RecordStatistics]:
    """Fold one record each of distinct layers into ``units``, which is written to, and return their statistics."""
    if not layers:
        return []
    batch = LayerBatch(units, layers)
    active = batch.column("active")
    is_active = active > 0
    expected_silent = _silence_probability(batch, policy)
    _update_shifts(batch)
    _update_silence_and_rates(batch, active, is_active, policy)
    nats = silence_nats(batch, policy)
    rate = _active_rate(batch.units)
    median_rates = batch.quantile(rate, rate > 0, 0.5)
    flags = classify_units(batch, nats, median_rates, policy)
    if not isinstance(batch.unit_index, slice):
        units[:, batch.unit_index] = batch.units
    counts = batch.count_units([~is_active, *flags])
    totals = batch.sum_units([active, expected_silent, batch.column("bias")])
    is_eligible = flags[0]
    headrooms, sigmas = _headroom_and_sigma(batch, is_eligible)
    columns = (median_rates, _kill_ratios(batch, is_active), _displacements(batch, is_active), headrooms, sigmas)
    typical = [_TypicalValues._make(values) for values in zip(*columns, strict=True)]
    return [_record_statistics(layer, counts[:, i], totals[:, i], typical[i]) for i, layer in enumerate(layers)]


def _record_statistics(
    layer: LayerRecord, counts: Ints, totals: npt.NDArray[np.float64], typical: _TypicalValues
) -> RecordStatistics:
    """Return the statistics of a layer; ``counts`` and ``totals`` are in the order of ``fold_records``."""
    n_examples = max(layer.record.n_examples, 1)
    units = layer.memory.tracked_units
    mean_bias = float(totals[2]) / units if layer.record.has("bias") else math.nan
    silent, eligible, dying, dense, strict, dead, born_dead, all_dying, all_dead = counts.tolist()
    return RecordStatistics(
        units=units,
        eligible=eligible,
        silent=silent,
        dying=dying,
        dying_dense=dense,
        dying_strict=strict,
        dead=dead,
        born_dead=born_dead,
        all_dying=all_dying,
        all_dead=all_dead,
        active_rate=float(totals[0]) / (n_examples * units),
        expected_silent=float(totals[1]),
        median_rate=typical.median_rate,
        kill_ratio=0.0 if math.isnan(typical.kill_ratio) else typical.kill_ratio,
        displacement=typical.displacement,
        mean_bias=mean_bias,
        headroom=typical.headroom,
        bias_sigma=_in_sigma(mean_bias, typical.sigma),
    )


def _in_sigma(value: float, sigma: float) -> float:
    """Return a value in standard deviations, within ``±MAX_HEADROOM``; NaN where either is unknown."""
    if math.isnan(value) or math.isnan(sigma):
        return math.nan
    return max(-MAX_HEADROOM, min(MAX_HEADROOM, value / max(sigma, 1e-6)))


def _active_rate(units: state.Units) -> Floats:
    """Return each unit's own active rate, which rests at its last activation; 0 where it was never active."""
    rate: Floats = units[state.ACTIVE] / np.maximum(units[state.EXAMPLES], np.float32(1))
    return rate


def _silence_probability(batch: LayerBatch, policy: Policy) -> Floats:
    """Return each unit's chance to be silent on this record, by its own past rate; 1 where it was never active."""
    rate = np.minimum(_active_rate(batch.units), MAX_RATE)
    n_effective = batch.per_unit(
        [min(layer.record.n_examples, 10**6) / design_effect(layer, policy) for layer in batch.layers]
    )
    probability: Floats = np.exp(n_effective * np.log1p(-rate))
    return probability


def _update_shifts(batch: LayerBatch) -> None:
    """Add up what moved the mean of each unit that is not lost yet; the sums fade over about ten records."""
    is_alive = np.mod(batch.units[state.CODE], state.BASELINE_OFFSET) == state.ALIVE
    columns = (
        (state.SHIFT_WEIGHT, "shift_weight"),
        (state.SHIFT_INPUT, "shift_input"),
        (state.SHIFT_BIAS, "shift_bias"),
    )
    for row, name in columns:
        previous = batch.units[row]
        batch.units[row] = np.where(is_alive, previous * SHIFT_DECAY + batch.column(name), previous)


def _update_silence_and_rates(batch: LayerBatch, active: Floats, is_active: Flags, policy: Policy) -> None:
    """Update silences and rates. A rate moves only when its unit is active, so that silence never lowers it."""
    units = batch.units
    n_examples = batch.per_unit([float(layer.record.n_examples) for layer in batch.layers])
    fade = batch.per_unit([1 - 1 / _memory_records(layer, policy) for layer in batch.layers])
    reported_silence = batch.column("silent")
    previous_silence = units[state.SILENT].copy()
    ever_active = units[state.ACTIVE] > 0

    # The reported silence covers steps without a record too; a restarted client reports less than was counted here.
    silence = np.where(
        is_active, np.minimum(reported_silence, n_examples), np.maximum(previous_silence + n_examples, reported_silence)
    )
    ended_silence = np.maximum(batch.column("longest_silence"), np.where(is_active, previous_silence, np.float32(0)))
    longest = np.maximum(units[state.LONGEST_SILENCE], ended_silence)
    units[state.LONGEST_SILENCE] = np.where(ever_active, longest, np.float32(0))

    # Examples from the last activation of the previous record to that of this one.
    examples = np.where(ever_active, previous_silence, np.float32(0)) + n_examples - silence
    units[state.EXAMPLES] = np.where(is_active, units[state.EXAMPLES] * fade + examples, units[state.EXAMPLES])
    units[state.EXAMPLES] = np.maximum(units[state.EXAMPLES], np.where(is_active, active, units[state.EXAMPLES]))
    units[state.ACTIVE] = np.where(is_active, units[state.ACTIVE] * fade + active, units[state.ACTIVE])
    units[state.SILENT] = silence


def _memory_records(layer: LayerRecord, policy: Policy) -> float:
    """Return the number of records that a rate remembers: few at first, while the layer still finds its way."""
    n_examples = layer.record.n_examples
    most = max(policy.memory_records, policy.memory_examples / n_examples)
    least = policy.memory_least_examples / n_examples
    return max(1.0, least, min(most, layer.memory.records * policy.memory_part))


def _units_with_max(batch: LayerBatch) -> Flags:
    """Return the units with a batch maximum and a variance: a column that was not sent is not a column of zeros."""
    present = [float(layer.record.has("max") and layer.record.has("var")) for layer in batch.layers]
    return batch.per_unit(present) > 0


def _kill_ratios(batch: LayerBatch, is_active: Flags) -> list[float]:
    """Return, per layer, the upper decile over active units of the drop of the mean by one update, over the maximum."""
    top = np.maximum(batch.column("max"), np.float32(0.01) * batch.sigma())
    drop = np.maximum(-batch.column("update_shift"), np.float32(0))
    ratio = np.minimum(drop / np.maximum(top, np.float32(1e-12)), MAX_KILL_RATIO)
    return batch.quantile(ratio, is_active & _units_with_max(batch), 0.9)


def _headroom_and_sigma(batch: LayerBatch, is_eligible: Flags) -> tuple[list[float], list[float]]:
    """Return, per layer, the headroom of its weakest tenth, and the median standard deviation of its units.

    A unit's headroom is its batch maximum in standard deviations: how far it is from being silent.
    """
    sigma = batch.sigma()
    top = batch.column("max") / np.maximum(sigma, np.float32(1e-6))
    # ``quantile`` takes non-negative values only.
    lifted: Floats = np.clip(top, -MAX_HEADROOM, MAX_HEADROOM).astype(np.float32) + np.float32(MAX_HEADROOM)
    weakest = batch.quantile(lifted, is_eligible & _units_with_max(batch), WEAKEST_SHARE, WEAKEST_MIN_UNITS)
    return [value - MAX_HEADROOM for value in weakest], batch.quantile(sigma, is_eligible, 0.5)


def _displacements(batch: LayerBatch, is_active: Flags) -> list[float]:
    """Return, per layer, the median over active units of how far one update moved the mean, in standard deviations."""
    sigma = batch.sigma()
    shift = np.abs(batch.column("update_shift"))
    is_measured = is_active & (sigma > 0) & (shift > 0)
    ratio = (shift / np.maximum(sigma, np.float32(1e-12))).astype(np.float32)
    return batch.quantile(ratio, is_measured, 0.5)
