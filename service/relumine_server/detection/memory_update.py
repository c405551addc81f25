"""Update of a layer's memory by a record: averages, weights, displacement and lost share, as scalars."""

from __future__ import annotations

import math

from relumine_server.detection.averages import (
    LONG_INTERVALS,
    SHORT_INTERVALS,
    SMOOTHING_INTERVALS,
    elapsed_intervals,
    moving_average,
)
from relumine_server.detection.evidence import RecordStatistics
from relumine_server.detection.state import HISTORY_LENGTH, LayerMemory

DISPLACEMENT_DECAY = 0.9
"""Factor per record of the peak displacement: it covers about ten records."""


def update_memory(
    memory: LayerMemory, stats: RecordStatistics, step: int, weight_norm: float | None, update_norm: float | None
) -> None:
    """Fold the statistics of a record into the layer's scalars, whatever is decided about it.

    ``weight_norm`` is that of the weights after the update, ``update_norm`` that of the update.
    """
    if 0 <= memory.step < step:
        memory.gap_steps = step - memory.step
    _update_averages(memory, stats)
    if weight_norm is not None and weight_norm > 0:
        _update_weights(memory, stats.units, weight_norm, update_norm or 0.0)
    memory.records += 1
    memory.step = step
    memory.median_rate = stats.median_rate
    memory.kill_ratio = stats.kill_ratio
    _update_displacement(memory, stats.displacement)
    memory.lost_fraction = stats.dying / stats.eligible if stats.eligible else 0.0
    memory.history = (
        *memory.history[-(HISTORY_LENGTH - 1) :],
        (float(step), memory.lost_fraction, stats.mean_bias),
    )


def _update_averages(memory: LayerMemory, stats: RecordStatistics) -> None:
    intervals = elapsed_intervals(memory.gap_steps)
    memory.age_intervals += intervals
    age = memory.age_intervals
    memory.headroom = moving_average(memory.headroom, stats.headroom, intervals, SMOOTHING_INTERVALS)
    memory.usual_headroom = moving_average(memory.usual_headroom, memory.headroom, intervals, LONG_INTERVALS, age)
    if math.isnan(memory.initial_sigma):
        memory.initial_sigma = stats.sigma
    memory.bias_sigma = stats.bias_sigma
    memory.usual_bias_sigma = moving_average(memory.usual_bias_sigma, stats.bias_sigma, intervals, SHORT_INTERVALS, age)


def _update_weights(memory: LayerMemory, units: int, weight_norm: float, update_norm: float) -> None:
    """Follow the norm of the weights, and compare the first one with He's initialization.

    He's has the norm √(2 · units), whatever the fan-in. The first update is taken off, at a right angle to weights that
    it knows nothing of: at a high learning rate it is all there is to see.
    """
    if math.isnan(memory.initial_weight_scale):
        updated_share = min(abs(update_norm) / weight_norm, 1.0)
        memory.initial_weight_scale = weight_norm * math.sqrt((1.0 - updated_share**2) / (2 * units))
    memory.log_weight_norm = math.log(weight_norm)
    memory.usual_log_weight_norm = moving_average(
        memory.usual_log_weight_norm,
        memory.log_weight_norm,
        elapsed_intervals(memory.gap_steps),
        LONG_INTERVALS,
        memory.age_intervals,
    )


def _update_displacement(memory: LayerMemory, displacement: float) -> None:
    """Keep the peak of about ten records: a sudden kill is over when its silence is noticed."""
    if math.isnan(displacement):
        return
    peak = 0.0 if math.isnan(memory.peak_displacement) else memory.peak_displacement
    memory.peak_displacement = max(displacement, DISPLACEMENT_DECAY * peak)
