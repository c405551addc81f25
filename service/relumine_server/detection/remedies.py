"""Proposed remedies, with a value wherever the evidence holds one. The first is the one to try first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from relumine.schemas.alert import Cause, Kind
from relumine.schemas.record_table import Array
from relumine_server.detection import remedy_code
from relumine_server.detection.findings import Remedy
from relumine_server.detection.remedy_code import remedy

NEGATIVE_SLOPE = 0.01
"""PyTorch's own default for LeakyReLU."""
SAFE_KILL_RATIO = 0.1
"""Kill ratio that a layer stands. Updates scale with the learning rate to first order, so the rate is lowered to it."""
SAFE_DISPLACEMENT = 0.05
"""Standard deviations by which one update moves the median unit at most where a learning rate is usual."""
MIN_RATE_FACTOR = 0.001
"""Smallest factor of the present learning rate that is proposed: beyond it, first order says nothing."""
MAX_RATE_FACTOR = 0.2
"""Largest factor that is proposed: above it too little would change."""
WEIGHT_DECAY_SHRINKAGE = -0.25
"""Relative change of the weights' norm that weight decay makes, and a push on the pre-activations does not."""
WHOLE_LAYER_KINDS = ("dead", "born_dead", "constant_output")
"""Kinds of problems in which a whole layer, or the model, is lost."""

HALF = 0.5
"""Share of lost units from which a layer has no output left that would be worth preserving."""


class Target(NamedTuple):
    """The layer that remedies are for: its name, and that of the first layer before it that was lost.

    ``upstream_label`` is the name of the latter for people.
    """

    layer: str | None = None
    upstream: str | None = None
    upstream_label: str | None = None


NO_TARGET = Target()
REMOVE_WEIGHT_DECAY = remedy(
    "lower_weight_decay",
    remedy_code.lower_weight_decay_code(0.0),
    "the weights shrink and the bias does not: without weight decay they stay",
    parameter="weight_decay",
    value=0.0,
)
CHECK_LOSS = remedy(
    "check_loss",
    remedy_code.CHECK_LOSS_CODE,
    "input and learning rate are as before: a term of the loss, or the targets, push units down",
)
CLIP_GRADIENT = remedy(
    "clip_gradient",
    remedy_code.CLIP_GRADIENT_CODE,
    "bounds what one bad batch can do",
    parameter="max_norm",
    value=1.0,
)
NORMALIZE_INPUT = remedy(
    "normalize_input",
    remedy_code.NORMALIZE_INPUT_CODE,
    "bring the input back to the range it was trained on",
    parameter="mean",
    value=0.0,
)
NORMALIZE_INPUT_FROM_START = remedy(
    "normalize_input",
    remedy_code.NORMALIZE_INPUT_CODE,
    "the input was never normalized: at its scale, updates of a usual learning rate are far too large",
    parameter="mean",
    value=0.0,
)
CHECK_COVERAGE = remedy(
    "check_coverage",
    remedy_code.coverage_code(),
    "the activation is no longer called where it was first observed",
)


def remedies(
    kind: Kind,
    cause: Cause,
    evidence: dict[str, Any],
    arrays: dict[str, Array],
    is_lost: Array | None,
    target: Target = NO_TARGET,
) -> tuple[Remedy, ...]:
    """Return the remedies for a problem. ``is_lost`` marks the lost units, shape (units,), where units are known."""
    if kind == "no_data":
        return (CHECK_COVERAGE,)
    if kind == "diverged":
        return (_lower_learning_rate(evidence), CLIP_GRADIENT)
    # Replacing the ReLU comes last, for where the others do not last (research/remedies/compare.py).
    proposed = _remedies_for_cause(kind, cause, evidence, arrays, is_lost, target)
    return (*proposed, _replace_relu(target))


def _remedies_for_cause(
    kind: Kind,
    cause: Cause,
    evidence: dict[str, Any],
    arrays: dict[str, Array],
    is_lost: Array | None,
    target: Target,
) -> tuple[Remedy, ...]:
    revive = _revive(kind, evidence, target)
    # No gradient reaches units that were never active, at any learning rate.
    lower_rate = () if kind == "born_dead" else (_lower_learning_rate(evidence),)
    match cause:
        case "high_learning_rate":
            proposed = (*lower_rate, revive)
        case "negative_bias":
            proposed = _remedies_for_bias(kind, evidence, _reset_bias(kind, arrays, is_lost, target), revive)
        case "bad_initialization":
            proposed = (replace(revive, reason="new weights and a new bias let every unit be active"), *lower_rate)
        case "input_shift":
            proposed = (NORMALIZE_INPUT, *lower_rate, revive)
        case "input_scale":
            proposed = (NORMALIZE_INPUT_FROM_START, revive)
        case "upstream_collapse":
            proposed = (_treat_upstream(target),)
        case _:
            proposed = (revive,) if kind == "born_dead" else ()
    return proposed


def _remedies_for_bias(kind: Kind, evidence: dict[str, Any], reset_bias: Remedy, revive: Remedy) -> tuple[Remedy, ...]:
    """Return a reset of biases that were initialized so; biases that training drives down would only return there."""
    if kind == "born_dead":
        return (reset_bias, revive)
    driver = REMOVE_WEIGHT_DECAY if has_shrunk_weights(evidence) else CHECK_LOSS
    return (driver, _tenth_of_learning_rate(evidence), reset_bias, revive)


def has_shrunk_weights(evidence: dict[str, Any]) -> bool:
    """Return True if the weights have become so much smaller that weight decay must be why."""
    change = (evidence.get("weights") or {}).get("change")
    return change is not None and change < WEIGHT_DECAY_SHRINKAGE


def _treated_layer(kind: Kind, target: Target) -> str | None:
    """Return the layer to treat; None, for all, where a whole layer is lost, since those after it die too."""
    return None if kind in WHOLE_LAYER_KINDS else target.layer


def _revive(kind: Kind, evidence: dict[str, Any], target: Target) -> Remedy:
    units = evidence.get("units") or 0
    silent = evidence.get("units_silent") or 0
    is_mostly_lost = kind in WHOLE_LAYER_KINDS or (units > 0 and silent >= HALF * units)
    code = remedy_code.revive_code(_treated_layer(kind, target), preserve=not is_mostly_lost)
    reason = "a lower learning rate stops further losses but revives no unit: reinitialize the dead ones"
    return remedy("revive_", code, reason)


def _replace_relu(target: Target) -> Remedy:
    code = remedy_code.replace_relu_code(target.layer, NEGATIVE_SLOPE)
    reason = "a LeakyReLU passes a gradient, so that lost units can return"
    return remedy("replace_relu_", code, reason, parameter="negative_slope", value=NEGATIVE_SLOPE)


def _treat_upstream(target: Target) -> Remedy:
    label = target.upstream_label or "the layer before it"
    reason = f"{label} was lost first, so this layer has lost its input: treat {label} first"
    return remedy("treat_upstream", remedy_code.revive_code(target.upstream, preserve=False), reason)


def _lower_learning_rate(evidence: dict[str, Any]) -> Remedy:
    """Return the last healthy learning rate, or the one at which an update is as small as in healthy trainings."""
    now = evidence["learning_rate"]["now"]
    previous = evidence["learning_rate"]["before"]
    if previous is not None and now is not None and previous < now:
        return _learning_rate(previous, "the last learning rate at which the layer was healthy")
    kill_ratio = evidence["kill_ratio"]
    displacement = evidence.get("displacement")
    factors = [SAFE_KILL_RATIO / kill_ratio] if kill_ratio else []
    # Once units are dead nothing is left to kill, and the kill ratio says nothing: how far they were moved still does.
    factors += [SAFE_DISPLACEMENT / displacement] if displacement else []
    if now is None or not factors:
        return _tenth_of_learning_rate(evidence)
    factor = min(max(min(factors), MIN_RATE_FACTOR), MAX_RATE_FACTOR)
    if displacement and factor == SAFE_DISPLACEMENT / displacement:
        reason = "at this learning rate one update moves a unit by at most 0.05 standard deviations"
    else:
        reason = "at this learning rate one update takes a tenth of the headroom of the most fragile units"
    return _learning_rate(now * factor, reason)


def _tenth_of_learning_rate(evidence: dict[str, Any]) -> Remedy:
    now = evidence["learning_rate"]["now"]
    reason = "a tenth of the present learning rate moves a unit a tenth as far"
    return _learning_rate(None if now is None else now / 10, reason)


def _learning_rate(value: float | None, reason: str) -> Remedy:
    code = remedy_code.lower_learning_rate_code(value)
    return remedy("lower_learning_rate", code, reason, parameter="lr", value=value)


def _reset_bias(kind: Kind, arrays: dict[str, Array], is_lost: Array | None, target: Target) -> Remedy:
    """Return the median bias at which a lost unit would be active on about half of the examples."""
    code = remedy_code.reset_bias_code(_treated_layer(kind, target))
    if is_lost is None or not is_lost.any() or "bias" not in arrays or "mean" not in arrays:
        return remedy("reset_bias_", code, "the bias alone keeps these units inactive", parameter="bias", value=0.0)
    balanced = arrays["bias"][is_lost].astype(np.float64) - arrays["mean"][is_lost]
    reason = "at this bias a lost unit is active on half of the examples"
    return remedy("reset_bias_", code, reason, parameter="bias", value=float(np.median(balanced)))
