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

from relumine.schemas.alert import Cause
from relumine_server.detection import state as detection_state
from relumine_server.detection.cause_evidence import CauseEvidence, push_coherence, sudden_push
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import learning_rate_trend

WINDOW_GAPS = 12
"""Gaps between sampled steps before an onset in which an event counts as its trigger."""

SUDDEN_PUSHES = 3
"""Times the fall that a steady push needs, where the steps since one record are to show it alone."""
MAX_COHERENCE = 1.5
"""Coherence beyond which a fall is longer than all steps that were seen, as after a jump between two records."""
INPUT_RMS_MAX = 10.0
"""Root mean square of an input from which ``relumine.check`` asks for a normalization."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """A cause and the confidence in it, in [0, 1]."""

    cause: Cause
    confidence: float


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
    """Return the bias where it lies far below what weights of a usual size spread over; else the initialization.

    Behind a layer that was born dead it is that layer's cause. Nothing is named where neither weights nor bias of the
    layer are known.
    """
    origin = next((lost for lost in evidence.upstream if lost.kind == "born_dead"), None)
    if origin is not None:
        return Attribution(origin.cause, 0.8)
    arrays = evidence.arrays
    if evidence.memory.initial_weight_scale < policy.tiny_weights:
        return Attribution("bad_initialization", 0.9)
    if "bias" in arrays and "mean" in arrays and "var" in arrays:
        bias = float(np.median(arrays["bias"].astype(np.float64)))
        mean_without_bias = float(np.median(arrays["mean"].astype(np.float64) - arrays["bias"]))
        sigma = float(np.sqrt(np.median(arrays["var"].astype(np.float64))))
        if bias < -2 * sigma and abs(bias) > 2 * abs(min(mean_without_bias, 0.0)):
            return Attribution("negative_bias", 0.9)
    elif math.isnan(evidence.memory.initial_weight_scale):
        return Attribution("unknown", 0.3)
    return Attribution("bad_initialization", 0.9)


def _changed_input(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name an input that became unusual before the onset, unless the learning rate jumped before it.

    One that changed long ago counts while it is still unusual, as one that drifts is, if the learning rate did not
    rise.
    """
    novel_step = evidence.run.novel_step
    jump_step = evidence.run.jump_step
    window = _trigger_window_steps(evidence, policy)
    if novel_step is None:
        return None
    if evidence.onset_step - novel_step > window:
        is_lasting = evidence.run.novel_records > 0 and not _has_raised_learning_rate(evidence, policy)
        return Attribution("input_shift", 0.8) if is_lasting else None
    if jump_step is not None and evidence.onset_step - jump_step <= window and jump_step < novel_step:
        return None
    return Attribution("input_shift", 0.95)


def _oversized_initialization(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name first weights far larger than any usual initialization makes them, where a layer is lost at once.

    They may be its own or those of a layer before it, and must have made large pre-activations: behind a normalization
    the size of weights says nothing.
    """
    layers = (evidence.memory, *evidence.earlier)
    is_huge = any(_starts_huge(layer, policy) for layer in layers)
    if is_huge and _starts_spread_out(evidence, policy) and _is_early(evidence, policy):
        return Attribution("bad_initialization", 0.9)
    return None


def _starts_huge(memory: detection_state.LayerMemory, policy: Policy) -> bool:
    return memory.initial_weight_scale > policy.huge_weights and memory.initial_sigma >= policy.large_sigma


def _input_never_normalized(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name the scale of the input where it was large from the start, reached the layer and makes its updates large."""
    is_unscaled = (evidence.run.first_input_rms or 0.0) >= INPUT_RMS_MAX and _starts_spread_out(evidence, policy)
    if not is_unscaled or _has_raised_learning_rate(evidence, policy):
        return None
    if _is_early(evidence, policy):
        return Attribution("input_scale", 0.85)
    if _has_large_updates(evidence, policy):
        return Attribution("input_scale", 0.7)
    return None


def _lost_upstream_layer(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a layer before this one that was almost entirely lost before the onset."""
    for lost in evidence.upstream:
        if lost.onset_step < evidence.onset_step and lost.lost_fraction >= policy.upstream_share:
            return Attribution("upstream_collapse", 0.7)
    return None


def _steady_push(evidence: CauseEvidence, policy: Policy) -> Attribution | None:
    """Name a push on the pre-activations where update after update moves the median unit down.

    Steps that are too large for a learning rate overshoot and go both ways, so that most of their movement cancels.
    """
    shift = evidence.median_shift
    if shift is None or evidence.run.novel_records:
        return None
    steady = push_coherence(evidence) if shift.weight + shift.bias <= -policy.pushed_sigma else 0.0
    sudden = sudden_push(evidence, SUDDEN_PUSHES * policy.pushed_sigma)
    is_explained = max(steady, sudden) <= MAX_COHERENCE or not _has_raised_learning_rate(evidence, policy)
    if max(steady, sudden) >= policy.push_coherence and is_explained:
        return Attribution("negative_bias", 0.85)
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
    _input_never_normalized,
    _lost_upstream_layer,
    _steady_push,
    _falling_bias,
    _raised_learning_rate,
    _shrinking_weights,
    _large_early_updates,
    _sinking_units,
    _large_updates,
)


def _starts_spread_out(evidence: CauseEvidence, policy: Policy) -> bool:
    """Return whether the first pre-activations spread wider than normalized inputs and usual weights make them."""
    return evidence.memory.initial_sigma >= policy.large_sigma


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
