"""Proposed remedies, with a value wherever the evidence holds one. The first is the one to try first."""

from __future__ import annotations

from typing import Any

import numpy as np

from relumine.schemas.alert import Cause, Kind
from relumine.schemas.record_table import Array
from relumine_server.detection.findings import Remedy

NEGATIVE_SLOPE = 0.01
"""PyTorch's own default for LeakyReLU."""
SAFE_KILL_RATIO = 0.1
"""Kill ratio that a layer stands. Updates scale with the learning rate to first order, so the rate is lowered to it."""
MIN_RATE_FACTOR = 0.01
"""Smallest factor of the present learning rate that is proposed: beyond it, first order says nothing."""
MAX_RATE_FACTOR = 0.2
"""Largest factor that is proposed: above it too little would change."""
WEIGHT_DECAY_SHRINKAGE = -0.25
"""Relative change of the weights' norm that weight decay makes, and a push on the pre-activations does not."""

REINITIALIZE_LOST_UNITS = Remedy(
    action="reinitialize",
    parameter=None,
    value=None,
    reason="a lower rate saves the units that are alive: those already lost must be reinitialized",
)
REMOVE_WEIGHT_DECAY = Remedy(
    action="lower_weight_decay",
    parameter="weight_decay",
    value=0.0,
    reason="the weights shrink and the bias does not: without weight decay they stay",
)
CHECK_LOSS = Remedy(
    action="check_loss",
    parameter=None,
    value=None,
    reason="input and learning rate are as before: a term of the loss, or its targets, pushes units down",
)
REPLACE_RELU = Remedy(
    action="replace_relu",
    parameter="negative_slope",
    value=NEGATIVE_SLOPE,
    reason="a LeakyReLU passes a gradient, so that lost units can return",
)


def remedies(
    kind: Kind, cause: Cause, evidence: dict[str, Any], arrays: dict[str, Array], is_lost: Array | None
) -> tuple[Remedy, ...]:
    """Return the remedies for a problem. ``is_lost`` marks the lost units, shape (units,), where units are known."""
    if kind == "no_data":
        return (Remedy("check_coverage", None, None, "the activation is no longer called where it was first observed"),)
    if kind == "diverged":
        clip = Remedy("clip_gradient", "max_norm", 1.0, "bounds what one bad batch can do")
        return (_lower_learning_rate(evidence), clip)
    # Replacing the ReLU comes last, for where the others do not last (research/remedies/compare.py).
    return (*_remedies_for_cause(kind, cause, evidence, arrays, is_lost), REPLACE_RELU)


def _remedies_for_cause(
    kind: Kind, cause: Cause, evidence: dict[str, Any], arrays: dict[str, Array], is_lost: Array | None
) -> tuple[Remedy, ...]:
    if cause == "high_learning_rate":
        return (_lower_learning_rate(evidence), REINITIALIZE_LOST_UNITS)
    if cause == "negative_bias":
        return _remedies_for_bias(kind, evidence, arrays, is_lost)
    if cause == "bad_initialization":
        reinitialize = Remedy("reinitialize", None, None, "He initialization and zero biases let every unit be active")
        return (reinitialize, _lower_learning_rate(evidence))
    if cause == "input_shift":
        normalize = Remedy("normalize_input", "mean", 0.0, "bring the input back to the range it was trained on")
        return (normalize, _lower_learning_rate(evidence), REINITIALIZE_LOST_UNITS)
    if cause == "upstream_collapse":
        return (_treat_upstream(evidence["upstream"]),)
    return ()


def _remedies_for_bias(
    kind: Kind, evidence: dict[str, Any], arrays: dict[str, Array], is_lost: Array | None
) -> tuple[Remedy, ...]:
    """Return a reset of biases that were initialized so; biases that training drives down would only return there."""
    if kind == "born_dead":
        return (_reset_bias(arrays, is_lost), _lower_learning_rate(evidence), REINITIALIZE_LOST_UNITS)
    change = evidence["weights"]["change"]
    driver = REMOVE_WEIGHT_DECAY if change is not None and change < WEIGHT_DECAY_SHRINKAGE else CHECK_LOSS
    return (driver, _tenth_of_learning_rate(evidence), _reset_bias(arrays, is_lost), REINITIALIZE_LOST_UNITS)


def _treat_upstream(upstream: list[int]) -> Remedy:
    layer_id = upstream[0] if upstream else None
    return Remedy("treat_upstream", "layer_id", layer_id, "its input is gone: treat the layer before it")


def _lower_learning_rate(evidence: dict[str, Any]) -> Remedy:
    """Return the last healthy learning rate, or the one at which an update takes a tenth of the weakest headroom."""
    now = evidence["learning_rate"]["now"]
    previous = evidence["learning_rate"]["before"]
    if previous is not None and now is not None and previous < now:
        return Remedy("lower_learning_rate", "lr", previous, "the rate at which the layer was alive")
    kill_ratio = evidence["kill_ratio"]
    if now is None or not kill_ratio:
        return _tenth_of_learning_rate(evidence)
    factor = min(max(SAFE_KILL_RATIO / kill_ratio, MIN_RATE_FACTOR), MAX_RATE_FACTOR)
    reason = "at this rate one update takes about a tenth of what the weakest units have left"
    return Remedy("lower_learning_rate", "lr", now * factor, reason)


def _tenth_of_learning_rate(evidence: dict[str, Any]) -> Remedy:
    now = evidence["learning_rate"]["now"]
    value = None if now is None else now / 10
    return Remedy("lower_learning_rate", "lr", value, "a tenth of the present rate moves a unit a tenth as far")


def _reset_bias(arrays: dict[str, Array], is_lost: Array | None) -> Remedy:
    """Return the median bias at which a lost unit would be active on about half of the examples."""
    if is_lost is None or not is_lost.any() or "bias" not in arrays or "mean" not in arrays:
        return Remedy("reset_bias", "bias", 0.0, "the bias alone keeps these units silent")
    balanced = arrays["bias"][is_lost].astype(np.float64) - arrays["mean"][is_lost]
    reason = "at this bias a lost unit is active on half of the examples"
    return Remedy("reset_bias", "bias", float(np.median(balanced)), reason)
