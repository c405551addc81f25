"""The memory of the units, record after record: silences, rates and shifts, each from what it was before the record.

Only these few sums need one record after the other, so that all else is computed for many rounds of records at once.
Every sum is rounded as if its record came alone: any split into rounds gives the same numbers, to the last bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relumine_server.detection import state
from relumine_server.detection.batch import Flags, Floats, LayerBatch, accumulate
from relumine_server.detection.policy import Policy

SHIFT_DECAY = np.float32(0.9)
"""Factor per record of the sums of shifts: they cover about ten records."""
RATES = slice(state.ACTIVE, state.EXAMPLES + 1)
SILENT = slice(state.SILENT, state.SILENT + 1)
CODE = slice(state.CODE, state.CODE + 1)
SHIFTS = slice(state.SHIFT_WEIGHT, state.SHIFT_BIAS + 1)
SHIFT_COLUMNS = ("shift_weight", "shift_input", "shift_bias")


def update_silences_and_rates(batch: LayerBatch, policy: Policy) -> None:
    """Write silences and rates. A rate moves only when its unit is active, so that silence never lowers it."""
    active = batch.by_round(batch.column("active"))
    is_active = active > 0
    n_examples = batch.by_round(batch.per_unit(batch.n_examples))
    rounds = batch.by_round(batch.units)
    start = batch.start_units
    _update_silences(batch, is_active, n_examples)

    previous_silence = batch.earlier_units(SILENT)[0]
    # A unit that was active once has a rate above 0 for ever.
    ever_active = accumulate(np.logical_or, np.concatenate([start[state.ACTIVE, None] > 0, is_active[:-1]]))
    ended_silence = np.where(is_active, previous_silence, np.float32(0))
    longest = np.maximum(batch.by_round(batch.column("longest_silence")), ended_silence)
    longest[0] = np.maximum(longest[0], start[state.LONGEST_SILENCE])
    rounds[state.LONGEST_SILENCE] = np.where(ever_active, longest, np.float32(0))
    accumulate(np.maximum, rounds[state.LONGEST_SILENCE])

    # Examples from the last activation of the previous record to that of this one.
    examples = np.where(ever_active, previous_silence, np.float32(0)) + n_examples - rounds[state.SILENT]
    rounds[state.ACTIVE] = active
    rounds[state.EXAMPLES] = examples
    _fade_rates(batch, active, batch.by_round(batch.per_unit(_fades(batch, policy))))


def _update_silences(batch: LayerBatch, is_active: Flags, n_examples: Floats) -> None:
    """Write the examples since each unit was last active.

    What is reported covers steps without a record too; a restarted client reports less than was counted here.
    """
    reported = batch.by_round(batch.column("silent"))
    at_activation = np.minimum(reported, n_examples)
    previous = batch.start_units[state.SILENT]
    rows = (batch.by_round(batch.units)[state.SILENT], n_examples, reported, at_activation, is_active)
    for silence, examples, least, reported_at_activation, flags in zip(*rows, strict=True):
        np.add(previous, examples, out=silence)
        np.maximum(silence, least, out=silence)
        np.copyto(silence, reported_at_activation, where=flags)
        previous = silence


def _fade_rates(batch: LayerBatch, active: Floats, fades: Floats) -> None:
    """Add the counts before each record to those of the record: of active examples, and of all, never fewer."""
    previous = batch.start_units[RATES]
    faded = np.empty_like(previous)
    counts = batch.by_round(batch.units)[RATES].swapaxes(0, 1)
    for updated, fade, least, is_silent in zip(counts, fades, active, active <= 0, strict=True):
        np.multiply(previous, fade, out=faded)
        np.add(faded, updated, out=updated)
        np.maximum(updated, least, out=updated)
        np.copyto(updated, previous, where=is_silent)
        previous = updated


def _fades(batch: LayerBatch, policy: Policy) -> npt.NDArray[np.float64]:
    """Return the factor, per record, of the counts before it.

    A rate remembers few records at first, while the layer still finds its way.
    """
    most = np.maximum(policy.memory_records, policy.memory_examples / batch.n_examples)
    least = policy.memory_least_examples / batch.n_examples
    earlier_records = np.array([layer.earlier_records for layer in batch.layers])
    memory_records = np.maximum(1.0, np.maximum(least, np.minimum(most, earlier_records * policy.memory_part)))
    fades: npt.NDArray[np.float64] = 1 - 1 / memory_records
    return fades


def update_shifts(batch: LayerBatch) -> None:
    """Add up what moved the mean of each unit that was not lost before the record, once all codes are written."""
    code = batch.earlier_units(CODE)[0]
    is_lost = (code != state.ALIVE) & (code != state.BASELINE_OFFSET + state.ALIVE)
    rounds = batch.by_round(batch.units)
    for row, name in enumerate(SHIFT_COLUMNS, SHIFTS.start):
        rounds[row] = batch.by_round(batch.column(name))
    previous = batch.start_units[SHIFTS]
    faded = np.empty_like(previous)
    for updated, flags in zip(rounds[SHIFTS].swapaxes(0, 1), is_lost, strict=True):
        np.multiply(previous, SHIFT_DECAY, out=faded)
        np.add(faded, updated, out=updated)
        np.copyto(updated, previous, where=flags)
        previous = updated
