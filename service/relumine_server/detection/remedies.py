"""What to do, with a number wherever the evidence holds one. The first entry is the one to try first."""

from __future__ import annotations

from typing import Any

import numpy as np

from relumine.table import Array
from relumine.views import Cause, Kind
from relumine_server.detection.findings import Remedy

NEGATIVE_SLOPE = 0.01  # PyTorch's own default for LeakyReLU
BEARABLE = 0.1
"""Kill ratio that a layer stands: updates scale with the rate to first order, so the rate is lowered to it …"""
LEAST_PART, MOST_PART = 0.01, 0.2
"""… within these parts of the present rate: beyond, first order says nothing; above a fifth too little would change."""
SHRUNK = -0.25
"""Change of the size of a layer's weights, as a part, that a decay of them makes and a push does not."""

REDRAW = Remedy(
    "reinitialize", None, None, "a lower rate saves who lives: units that are lost already must be drawn anew"
)
NO_DECAY = Remedy(
    "lower_weight_decay", "weight_decay", 0.0, "the weights shrink and the bias does not: without decay they stay"
)
CHECK_LOSS = Remedy(
    "check_loss", None, None, "inputs and rate are as before: a term of the loss, or its targets, push units down"
)
REPLACE = Remedy(
    "replace_relu", "negative_slope", NEGATIVE_SLOPE, "a LeakyReLU passes a gradient, so that lost units can return"
)


def remedies(
    kind: Kind, cause: Cause, evidence: dict[str, Any], arrays: dict[str, Array], lost: Array | None
) -> tuple[Remedy, ...]:
    """Remedies for a problem. ``lost`` marks the lost units (shape (units,)), where units are known."""
    if kind == "no_data":
        return (Remedy("check_coverage", None, None, "the activation is no longer called where it was first seen"),)
    if kind == "diverged":
        return (_lower_rate(evidence), Remedy("clip_gradient", "max_norm", 1.0, "bounds what one bad batch can do"))
    upstream = evidence["upstream"]
    first: dict[Cause, tuple[Remedy, ...]] = {
        "high_learning_rate": (_lower_rate(evidence), REDRAW),
        "negative_bias": _of_biases(kind, evidence, arrays, lost),
        "bad_initialization": (
            Remedy("reinitialize", None, None, "He initialization and zero biases let every unit fire"),
            _lower_rate(evidence),
        ),
        "input_shift": (
            Remedy("normalize_input", "mean", 0.0, "bring the input back to the range it was trained on"),
            _lower_rate(evidence),
            REDRAW,
        ),
        "upstream_collapse": (
            Remedy(
                "treat_upstream",
                "layer_id",
                upstream[0] if upstream else None,
                "its input is gone: mend the layer before it",
            ),
        ),
        "unknown": (),
    }
    return (*first[cause], REPLACE)  # where the first does not last, the next: benchmarks/remedies/compare.py


def _of_biases(
    kind: Kind, evidence: dict[str, Any], arrays: dict[str, Array], lost: Array | None
) -> tuple[Remedy, ...]:
    """What began with such biases has them set; what training drives there would be driven there again."""
    if kind == "born_dead":
        return (*_reset_bias(arrays, lost), _lower_rate(evidence), REDRAW)
    change = evidence["weights"]["change"]
    drive = NO_DECAY if change is not None and change < SHRUNK else CHECK_LOSS
    return (drive, _tenth_of(evidence), *_reset_bias(arrays, lost), REDRAW)


def _lower_rate(evidence: dict[str, Any]) -> Remedy:
    rate = evidence["learning_rate"]
    now, before = rate["now"], rate["before"]
    if before is not None and now is not None and before < now:
        return Remedy("lower_learning_rate", "lr", before, "the rate at which the layer was alive")
    kill = evidence["kill_ratio"]
    if now is None or not kill:
        return _tenth_of(evidence)
    part = min(max(BEARABLE / kill, LEAST_PART), MOST_PART)
    reason = "at this rate one update takes about a tenth of what the weakest units have left"
    return Remedy("lower_learning_rate", "lr", now * part, reason)


def _tenth_of(evidence: dict[str, Any]) -> Remedy:
    now = evidence["learning_rate"]["now"]
    value = None if now is None else now / 10
    return Remedy("lower_learning_rate", "lr", value, "a tenth of the present rate moves a unit a tenth as far")


def _reset_bias(arrays: dict[str, Array], lost: Array | None) -> tuple[Remedy, ...]:
    """The bias at which a lost unit would fire on about half of the examples."""
    if lost is None or not lost.any() or "bias" not in arrays or "mean" not in arrays:
        return (Remedy("reset_bias", "bias", 0.0, "the bias alone keeps these units silent"),)
    balanced = arrays["bias"][lost].astype(np.float64) - arrays["mean"][lost]
    return (
        Remedy(
            "reset_bias", "bias", float(np.median(balanced)), "at this bias a lost unit fires on half of the examples"
        ),
    )
