"""Cause attribution: why a layer is being lost.

Trigger and mechanism are kept apart: the earliest alarming event decides the cause. Rules are tried in the order in
which one explains the next: an input that changed makes gradients explode, a learning rate that changed moves weights
and biases alike, and a layer that sinks without either is pushed down. Shares of the shift are read only where the
client could split it exactly. ``unknown`` is an answer. Confidences are at or below the share of right answers on the
tune half of the corpus, where the rule made a claim there at all (``research/scoring/score.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from relumine.schemas.alert import Cause, Kind
from relumine.schemas.record_table import Array
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import learning_rate_trend

WINDOW_GAPS = 12
"""Gaps between sampled steps before an onset in which an event counts as its trigger."""
MAX_SHIFT_SIGMA = 10


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

    ``arrays`` are the columns of the record, ``upstream`` the layers before this one that were lost: layer id, lost
    fraction and onset of each.
    """

    kind: Kind
    memory: detection_state.LayerMemory
    run: detection_state.RunMemory
    step: int
    onset_step: float
    shift_shares: ShiftShares | None
    median_shift: MedianShift | None
    arrays: dict[str, Array]
    upstream: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """A cause and the confidence in it, in [0, 1]."""

    cause: Cause
    confidence: float


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


def attribute_cause(evidence: CauseEvidence, policy: Policy) -> Attribution:
    """Return the cause of a dying, dead or born dead layer."""
    if evidence.kind == "born_dead":
        return _attribute_born_dead(evidence, policy)
    for rule in _RULES:
        attribution = rule(evidence, policy)
        if attribution is not None:
            return attribution
    return Attribution("unknown", 0.3)


def attribute_run_cause(state: detection_state.DetectorState, step: int, policy: Policy) -> Attribution:
    """Return the cause of a problem of the run as a whole: that of the layer lost first, or a recent event."""
    run = state.run
    lost_layers = [
        problem for (layer_id, _kind), problem in state.open_problems.items() if layer_id and problem.severity != "info"
    ]
    if lost_layers:
        first = min(lost_layers, key=lambda problem: problem.step)
        return Attribution(first.cause, first.confidence)
    if run.jump_step is not None and step - run.jump_step <= 2 * policy.armed_steps:
        return Attribution("high_learning_rate", 0.8)
    if run.novel_step is not None and step - run.novel_step <= policy.armed_steps:
        return Attribution("input_shift", 0.7)
    return Attribution("unknown", 0.3)


def _attribute_born_dead(evidence: CauseEvidence, policy: Policy) -> Attribution:
    """Return the bias where it lies far below what weights of a usual size spread over; else the initialization."""
    arrays = evidence.arrays
    if evidence.memory.initial_weight_scale < policy.tiny_weights:
        return Attribution("bad_initialization", 0.9)
    if "bias" in arrays and "mean" in arrays and "var" in arrays:
        bias = float(np.median(arrays["bias"].astype(np.float64)))
        mean_without_bias = float(np.median(arrays["mean"].astype(np.float64) - arrays["bias"]))
        sigma = float(np.sqrt(np.median(arrays["var"].astype(np.float64))))
        if bias < -2 * sigma and abs(bias) > 2 * abs(min(mean_without_bias, 0.0)):
            return Attribution("negative_bias", 0.9)
    return Attribution("bad_initialization", 0.9)


def _changed_input(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name an input that became unusual before the onset, unless the learning rate jumped before it."""
    novel_step = evidence.run.novel_step
    jump_step = evidence.run.jump_step
    window = _trigger_window_steps(evidence, policy)
    if novel_step is None or evidence.onset_step - novel_step > window:
        return None
    if jump_step is not None and evidence.onset_step - jump_step <= window and jump_step < novel_step:
        return None
    return Attribution("input_shift", 0.95)


def _oversized_initialization(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name first weights far larger than any usual initialization makes them, where the layer is lost at once."""
    if evidence.memory.initial_weight_scale > policy.huge_weights and _is_early(evidence, policy):
        return Attribution("bad_initialization", 0.9)
    return None


def _lost_upstream_layer(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a layer before this one that was almost entirely lost before the onset."""
    for _layer_id, lost_fraction, onset_step in evidence.upstream:
        if onset_step < evidence.onset_step and lost_fraction >= policy.upstream_share:
            return Attribution("upstream_collapse", 0.7)
    return None


def _falling_bias(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a bias that fell below its usual value and led the shift, unless the learning rate rose."""
    memory = evidence.memory
    shift = evidence.median_shift
    has_fallen = memory.bias_sigma - memory.usual_bias_sigma < -policy.bias_fall
    has_led = shift is None or shift.bias < min(shift.weight, 0.0) * policy.bias_lead
    if has_fallen and has_led and not _has_raised_learning_rate(evidence, policy):
        return Attribution("negative_bias", 0.85)
    return None


def _raised_learning_rate(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a learning rate that rose above its history, at once or slowly."""
    if _has_raised_learning_rate(evidence, policy):
        return Attribution("high_learning_rate", 0.95)
    return None


def _shrinking_weights(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name weights that shrink while a negative bias stays: a decay of the weights only."""
    memory = evidence.memory
    has_shrunk = memory.log_weight_norm - memory.usual_log_weight_norm < -policy.weights_shrink
    if has_shrunk and memory.bias_sigma < 0:
        return Attribution("negative_bias", 0.85)
    return None


def _large_early_updates(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name large updates at the start: a learning rate too high from the first. With Adam all updates are large."""
    if _has_large_updates(evidence, policy) and _is_early(evidence, policy):
        return Attribution("high_learning_rate", 0.8)
    return None


def _sinking_units(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a push on the pre-activations where the median unit sinks under its usual input and learning rate.

    Weights on inputs that are never negative act as a bias does, so weights and bias count together.
    """
    shift = evidence.median_shift
    memory = evidence.memory
    if shift is not None:
        parameter_shift = shift.weight + shift.bias
        if parameter_shift < -policy.drift_sigma:
            input_leads = shift.input < parameter_shift
            return Attribution("negative_bias", 0.7 if input_leads else 0.85)
    if memory.bias_sigma - memory.usual_bias_sigma < -0.5 * policy.drift_sigma:
        return Attribution("negative_bias", 0.8)
    return None


def _large_updates(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name large updates that nothing else explains, as when momentum is raised under a constant learning rate."""
    if _has_large_updates(evidence, policy):
        return Attribution("high_learning_rate", 0.55)
    return None


_Rule: TypeAlias = Callable[[CauseEvidence, Policy], Attribution | None]
_RULES: tuple[_Rule, ...] = (
    _changed_input,
    _oversized_initialization,
    _lost_upstream_layer,
    _falling_bias,
    _raised_learning_rate,
    _shrinking_weights,
    _large_early_updates,
    _sinking_units,
    _large_updates,
)


def _has_large_updates(evidence: CauseEvidence, policy: Policy) -> bool:
    """Return whether one update moved the median unit far; False where that is not known (NaN)."""
    return evidence.memory.peak_displacement >= policy.fast_sigma


def _has_raised_learning_rate(evidence: CauseEvidence, policy: Policy) -> bool:
    """Return whether the learning rate jumped before the onset, and is still up or did so just now, or rose slowly."""
    run = evidence.run
    window = _trigger_window_steps(evidence, policy)
    if run.jump_step is not None and 0 <= evidence.onset_step - run.jump_step <= window:
        is_still_up = (run.rate or 0.0) >= policy.rate_step * (run.jump_before or math.inf)
        is_recent = evidence.step - run.jump_step <= policy.armed_steps
        if is_still_up or is_recent:
            return True
    return learning_rate_trend(run) >= policy.rate_trend


def _is_early(evidence: CauseEvidence, policy: Policy) -> bool:
    return evidence.memory.records <= policy.early_records


def _trigger_window_steps(evidence: CauseEvidence, policy: Policy) -> float:
    """Return the steps before the onset in which an event counts as its trigger."""
    gap_steps = 0.0 if math.isnan(evidence.memory.gap_steps) else evidence.memory.gap_steps
    return max(policy.armed_steps, WINDOW_GAPS * gap_steps)
