"""Whether a stated confidence is worth its number: of causes given with confidence c, a share c should be right.

A claim is the cause at the moment of the first valid alarm of a run that was found. ``unknown`` names no cause; it
has its own line, and stays out of the error of those that name one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scorer import Verdict

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DRAWS = 2000


@dataclass(frozen=True)
class Claim:
    """A cause as it was stated, and whether it was right."""

    cause: str
    confidence: float
    right: bool


def claims(verdicts: Sequence[Verdict]) -> list[Claim]:
    """What our own alarms said of causes."""
    return [
        Claim(v.found.cause or "unknown", v.found.confidence, v.is_cause_right)
        for v in verdicts
        if v.found is not None and v.found.confidence is not None
    ]


def bins(told: Sequence[Claim]) -> list[list[Claim]]:
    """The claims by their confidence; the last edge belongs to the last bin."""
    return [
        [claim for claim in told if low <= claim.confidence < high or claim.confidence == high == EDGES[-1]]
        for low, high in pairwise(EDGES)
    ]


def calibration_error(told: Sequence[Claim]) -> float:
    """Expected calibration error: how far stated and true shares lie apart, averaged over claims."""
    return sum(abs(sum(claim.confidence - claim.right for claim in some)) for some in bins(told)) / max(len(told), 1)


def error_by_chance(told: Sequence[Claim]) -> float:
    """The error that confidences which are exactly true would show on so few claims."""
    random = np.random.default_rng(0)
    confidences = np.array([claim.confidence for claim in told])
    place = np.array([next(i for i, some in enumerate(bins([claim])) if some) for claim in told], np.int64)
    apart = confidences - (random.random((DRAWS, len(told))) < confidences)
    parts = [np.abs(apart[:, place == i].sum(1)) for i in range(len(EDGES) - 1)]
    return float(sum(parts).mean()) / max(len(told), 1)


def print_reliability(verdicts: Sequence[Verdict]) -> None:
    """A line per bin, then the error over all claims."""
    told = claims(verdicts)
    if not told:
        return
    print("\nconfidence of causes:   stated  right  claims")
    for (low, high), some in zip(pairwise(EDGES), bins(told), strict=True):
        if some:
            print(f"  {low:.1f} to {high:.1f}            {_means(some)}")
    unknown = [claim for claim in told if claim.cause == "unknown"]
    named = [claim for claim in told if claim.cause != "unknown"]
    if unknown:
        print(f"  of them unknown       {_means(unknown)}")
    for name, some in (("all", told), ("named causes", named)):
        if some:
            error, chance = calibration_error(some), error_by_chance(some)
            print(f"  calibration error of {name}: {error:.3f} ({chance:.3f} if every stated confidence were true)")


def _means(some: Sequence[Claim]) -> str:
    stated, right = (sum(values) / len(some) for values in zip(*((c.confidence, c.right) for c in some), strict=True))
    return f"{stated:8.2f}{right:7.2f}{len(some):8d}"
