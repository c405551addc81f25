"""The clause of a message that says why. It names a cause only where no number of the evidence speaks against it.

Where one does, the clause says what was measured instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relumine.schemas.alert import Cause
from relumine_server.detection.findings import Finding
from relumine_server.detection.number_words import measured, percent, rate, rate_pair
from relumine_server.detection.remedies import has_shrunk_weights

LIKELY_CONFIDENCE = 0.7
"""Confidence from which a cause is called likely, and not just possible."""
MIN_SHARE = 0.05
"""Share of the fall that is worth a word."""
MOST = 0.5
"""Share from which one part made most of the fall."""
SHIFT_PARTS = {"weight": "its weights", "input": "its input", "bias": "its biases"}


def cause_sentence(finding: Finding) -> str:
    """Return the sentence; empty where nothing is known about the cause."""
    if finding.kind in {"no_data", "stalled"}:
        return ""
    cause = _cause(finding)
    if cause:
        certainty = "Likely" if finding.confidence >= LIKELY_CONFIDENCE else "Possible"
        return f"{certainty} cause: {cause}."
    is_falling = finding.kind in {"dying", "dead"} and finding.cause in {"negative_bias", "unknown"}
    return _fall_sentence(finding.evidence) if is_falling else ""


def raised_rate(evidence: dict[str, Any]) -> tuple[str, str] | None:
    """Return the learning rates before and after a rise, as text; None where it did not rise, or by a hidden digit."""
    now = measured(evidence, "learning_rate", "now")
    previous = measured(evidence, "learning_rate", "before")
    if now is None or previous is None or now <= previous or rate(now) == rate(previous):
        return None
    return rate_pair(previous, now)


def event_step(finding: Finding, key: str) -> str:
    """Return *step 4,380*, the step of an event that led to the problem; empty where it is not known, or came later.

    ``key`` is the evidence with the event: of the learning rate, or of the input.
    """
    step = measured(finding.evidence, key, "changed_at_step")
    onset = measured(finding.evidence, "onset_step")
    if step is None or step > finding.step or (onset is not None and step > onset):
        return ""
    return f"step {step:,.0f}"


def _cause(finding: Finding) -> str:
    render = _CAUSES.get(finding.cause)
    return "" if render is None else render(finding)


def _learning_rate_cause(finding: Finding) -> str:
    now = measured(finding.evidence, "learning_rate", "now")
    step = event_step(finding, "learning_rate")
    at_step = f" at {step}" if step else ""
    rates = raised_rate(finding.evidence)
    if rates is not None:
        return f"the learning rate rose from {rates[0]} to {rates[1]}{at_step}"
    if step:
        return f"a temporary rise of the learning rate{at_step}"
    return "the learning rate is too high" if now is None else f"a learning rate of {rate(now)} is too high"


def _bias_cause(finding: Finding) -> str:
    """Name the bias where it was low from the start, where weights shrink around it, or where it falls most."""
    evidence = finding.evidence
    mean = measured(evidence, "bias", "mean")
    negative = rate(mean) if mean is not None and mean < 0 else ""
    if finding.kind == "born_dead":
        return _first_bias_cause(finding.evidence, negative)
    if has_shrunk_weights(evidence):
        shrinkage = percent(-(measured(evidence, "weights", "change") or 0.0))
        return f"the weights shrank by {shrinkage}" + (f" while the bias stayed at {negative}" if negative else "")
    if any(measured(evidence, "shift", part) is not None for part in SHIFT_PARTS):
        return _falling_bias(evidence)
    slope = measured(evidence, "bias", "slope_per_step")
    if slope is not None and slope < 0:
        return "the biases are falling"
    return f"the biases are negative (mean {negative})" if negative else "its units are pushed below zero"


def _falling_bias(evidence: dict[str, Any]) -> str:
    """Name the bias where its part of the fall is most of it and no other part is larger."""
    shares = _shares(evidence)
    share = shares.get("bias", 0.0)
    if share < MOST or share < max(shares.values()):
        return ""
    return f"the biases are falling ({percent(share)} of the drop in mean pre-activation)"


def _first_bias_cause(evidence: dict[str, Any], negative: str) -> str:
    """Name a layer before this one that is lost as well: without its input, any bias below zero is too low."""
    names = evidence.get("upstream_names")
    if names and negative:
        return f"biases begin below zero, and {names[0]} before it is lost"
    return f"biases begin too low (mean {negative})" if negative else "the first biases keep its units below zero"


def _initialization_cause(finding: Finding) -> str:
    if finding.kind == "born_dead":
        return "the initialization leaves its units below zero"
    return "the initial weights were far too large" if finding.layer is not None else "the initialization of the model"


def _input_cause(finding: Finding) -> str:
    step = event_step(finding, "input")
    return f"the model's input changed at {step}" if step else "the model's input changed"


def _input_scale_cause(finding: Finding) -> str:
    mean = measured(finding.evidence, "input", "mean")
    std = measured(finding.evidence, "input", "std")
    numbers = "" if mean is None or std is None else f" (mean {rate(mean)}, standard deviation {rate(std)})"
    return f"the model's input is not normalized{numbers}"


def _upstream_cause(finding: Finding) -> str:
    names = finding.evidence.get("upstream_names")
    return f"{names[0]} was lost first" if names else "a layer before it was lost first"


def _shares(evidence: dict[str, Any]) -> dict[str, float]:
    """Return the parts of the fall by their shares, the largest first; empty where the split is not exact."""
    shares = {part: measured(evidence, "shift", part) or 0.0 for part in SHIFT_PARTS}
    parts = sorted(shares, key=lambda part: -shares[part])
    return {part: shares[part] for part in parts if shares[part] >= MIN_SHARE}


def _fall_sentence(evidence: dict[str, Any]) -> str:
    """Say what moved the mean pre-activation down, where that could be split exactly."""
    shares = _shares(evidence)
    if not shares:
        return ""
    largest = next(iter(shares))
    if shares[largest] >= MOST:
        parts = f"mostly through {SHIFT_PARTS[largest]}"
    else:
        parts = "through " + " and ".join(SHIFT_PARTS[part] for part in list(shares)[:2])
    return f"No clear cause: the mean pre-activation is falling, {parts}."


_CAUSES: Mapping[Cause, Callable[[Finding], str]] = {
    "high_learning_rate": _learning_rate_cause,
    "negative_bias": _bias_cause,
    "bad_initialization": _initialization_cause,
    "input_shift": _input_cause,
    "input_scale": _input_scale_cause,
    "upstream_collapse": _upstream_cause,
}
