"""Calibration of stated confidences: of causes given with confidence c, a share c should be right.

A claim is the cause at the first valid alarm of a run that was found. ``unknown`` names no cause: it has its own line,
and does not count in the error of the named causes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from research.scoring.scorer import Verdict

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DRAWS = 2000


@dataclass(frozen=True)
class Claim:
    """A cause as it was stated, and whether it was right."""

    cause: str
    confidence: float
    is_right: bool


def claims(verdicts: Sequence[Verdict]) -> list[Claim]:
    """Return the claims of our alarms."""
    stated = []
    for verdict in verdicts:
        alarm = verdict.alarm
        if alarm is not None and alarm.confidence is not None:
            stated.append(Claim(alarm.cause or "unknown", alarm.confidence, verdict.is_cause_right))
    return stated


def bins(stated: Sequence[Claim]) -> list[list[Claim]]:
    """Return the claims by confidence."""
    return [[claim for claim in stated if is_in_bin(claim.confidence, low, high)] for low, high in pairwise(EDGES)]


def is_in_bin(probability: float, low: float, high: float) -> bool:
    """Return whether a probability is in a bin; the edge 1 belongs to the last bin."""
    return low <= probability < high or probability == high == 1.0


def calibration_error(stated: Sequence[Claim]) -> float:
    """Return the expected calibration error: the distance of stated and true shares, averaged over claims."""
    distances = (abs(sum(claim.confidence - claim.is_right for claim in in_bin)) for in_bin in bins(stated))
    return sum(distances) / max(len(stated), 1)


def chance_error(stated: Sequence[Claim]) -> float:
    """Return the error that exactly true confidences would show on as many claims."""
    random = np.random.default_rng(0)
    confidences = np.array([claim.confidence for claim in stated])
    bin_of = np.array([_bin_index(claim) for claim in stated], np.int64)
    differences = confidences - (random.random((DRAWS, len(stated))) < confidences)
    parts = [np.abs(differences[:, bin_of == index].sum(1)) for index in range(len(EDGES) - 1)]
    return float(sum(parts).mean()) / max(len(stated), 1)


def _bin_index(claim: Claim) -> int:
    return next(index for index, in_bin in enumerate(bins([claim])) if in_bin)


def print_reliability(verdicts: Sequence[Verdict]) -> None:
    """Print a line per bin, then the error over all claims."""
    stated = claims(verdicts)
    if not stated:
        return
    print("\nconfidence of causes:   stated  right  claims")
    for (low, high), in_bin in zip(pairwise(EDGES), bins(stated), strict=True):
        if in_bin:
            print(f"  {low:.1f} to {high:.1f}            {_means(in_bin)}")
    unknown = [claim for claim in stated if claim.cause == "unknown"]
    named = [claim for claim in stated if claim.cause != "unknown"]
    if unknown:
        print(f"  of them unknown       {_means(unknown)}")
    for name, group in (("all", stated), ("named causes", named)):
        if group:
            error = calibration_error(group)
            chance = chance_error(group)
            print(f"  calibration error of {name}: {error:.3f} ({chance:.3f} if every stated confidence were true)")


def _means(group: Sequence[Claim]) -> str:
    stated = sum(claim.confidence for claim in group) / len(group)
    right = sum(claim.is_right for claim in group) / len(group)
    return f"{stated:8.2f}{right:7.2f}{len(group):8d}"
