"""Evidence that causes are attributed from: the memories of layer and run, and the shift of the units by its parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from relumine.schemas.alert import Cause, Kind
from relumine.schemas.record_table import Array
from relumine_server.detection import state as detection_state
from relumine_server.detection.unit_history import SHIFT_COLUMNS, SHIFT_DECAY

MAX_SHIFT_SIGMA = 10
MIN_PUSH_STEPS = 5
"""Steps that show whether updates add up: of fewer, one alone may be all of the fall."""


class LostLayer(NamedTuple):
    """A layer before the one in question that was lost: of which kind, how much of it, since when and why."""

    layer_id: int
    kind: Kind
    lost_fraction: float
    onset_step: float
    cause: Cause


@dataclass(frozen=True, slots=True)
class ShiftShares:
    """Shares of the downward shift of the lost units, by the part that caused it; each in [0, 1], together 1."""

    weight: float
    input: float
    bias: float


@dataclass(frozen=True, slots=True)
class MedianShift:
    """Shift of the median unit over about ten records, in its standard deviations, by the part that caused it."""

    weight: float
    input: float
    bias: float


@dataclass(frozen=True, slots=True)
class CauseEvidence:
    """Everything that the cause of a layer's problem is attributed from.

    ``arrays`` are the columns of the record, ``upstream`` the layers before this one that were lost,
    ``earlier`` all layers before this one.
    """

    kind: Kind
    memory: detection_state.LayerMemory
    run: detection_state.RunMemory
    step: int
    onset_step: float
    shift_shares: ShiftShares | None
    median_shift: MedianShift | None
    arrays: dict[str, Array]
    upstream: tuple[LostLayer, ...]
    earlier: tuple[detection_state.LayerMemory, ...] = ()


def shift_shares(memory: detection_state.LayerMemory, units: detection_state.Units) -> ShiftShares | None:
    """Return the shares over the lost units of a layer; None where its split is not exact or nothing moved down.

    ``units`` is the layer's part of the state, of shape (8, units). Every unit counts the same.
    """
    if memory.info.split != "linear":
        return None
    is_lost = np.isin(units[detection_state.CODE], (detection_state.DYING, detection_state.DEAD))
    shifts = units[detection_state.SHIFT_WEIGHT : detection_state.SHIFT_BIAS + 1, is_lost].astype(np.float64)
    downward = np.maximum(-shifts, 0)
    total = downward.sum(0)
    if not (total > 0).any():
        return None
    weight, input_, bias = (downward[:, total > 0] / total[total > 0]).mean(1).tolist()
    return ShiftShares(weight, input_, bias)


def median_shift(
    memory: detection_state.LayerMemory, units: detection_state.Units, arrays: dict[str, Array]
) -> MedianShift | None:
    """Return the median over the units that could be lost; None where the split is not exact. ``units``: (8, units)."""
    if memory.info.split != "linear" or "var" not in arrays:
        return None
    codes = units[detection_state.CODE]
    is_eligible = (codes < detection_state.BASELINE_OFFSET) & (codes != detection_state.BORN_DEAD)
    if not is_eligible.any():
        return None
    sigma = np.sqrt(arrays["var"][is_eligible].astype(np.float64)) + 1e-12
    shifts = units[detection_state.SHIFT_WEIGHT : detection_state.SHIFT_BIAS + 1, is_eligible] / sigma
    medians = np.median(np.clip(shifts, -MAX_SHIFT_SIGMA, MAX_SHIFT_SIGMA), axis=1)
    weight, input_, bias = medians.tolist()
    return MedianShift(weight, input_, bias)


def push_coherence(evidence: CauseEvidence) -> float:
    """Return how far the updates add up to the fall of the median unit, from 0: they cancel, to about 1: all push down.

    Each single update moved it by at most the peak displacement. 0 where the split is not exact or nothing is known.
    """
    if evidence.median_shift is None:
        return 0.0
    return _coherence(evidence.memory, evidence.median_shift, _steps_covered(evidence.memory))


def sudden_push(evidence: CauseEvidence, min_sigma: float) -> float:
    """Return the same of the steps since the record before; 0 where the fall in them is less than ``min_sigma``."""
    shift = _latest_shift(evidence)
    steps = evidence.memory.gap_steps
    if shift is None or not steps >= MIN_PUSH_STEPS or shift.weight + shift.bias > -min_sigma:
        return 0.0
    return _coherence(evidence.memory, shift, steps)


def _coherence(memory: detection_state.LayerMemory, shift: MedianShift, steps: float) -> float:
    step_length = memory.peak_displacement
    return max(-(shift.weight + shift.bias), 0.0) / (step_length * steps) if step_length > 0 else 0.0


def _latest_shift(evidence: CauseEvidence) -> MedianShift | None:
    """Return the shift of the median active unit since the record before; None where the split is not exact."""
    arrays = evidence.arrays
    if evidence.median_shift is None or not arrays.keys() >= {"active", "var", *SHIFT_COLUMNS}:
        return None
    is_active = (arrays["active"] > 0) & (arrays["var"] > 0)
    if not is_active.any():
        return None
    sigma = np.sqrt(arrays["var"][is_active].astype(np.float64))
    shifts = np.stack([arrays[name][is_active] / sigma for name in SHIFT_COLUMNS])
    weight, input_, bias = np.median(np.clip(shifts, -MAX_SHIFT_SIGMA, MAX_SHIFT_SIGMA), axis=1).tolist()
    return MedianShift(weight, input_, bias)


def _steps_covered(memory: detection_state.LayerMemory) -> float:
    """Return the steps that the fading sums of the shifts cover."""
    steps = [0.0, *(step for step, _lost_fraction, _bias in memory.history)]
    if memory.records > len(memory.history):
        steps = steps[1:]
    covered = 0.0
    for earlier, later in pairwise(steps):
        covered = covered * float(SHIFT_DECAY) + max(later - earlier, 0.0)
    return max(covered, 1.0)
