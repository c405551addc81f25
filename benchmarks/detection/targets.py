"""What we set out to reach on held-out runs, and whether it was: a line per target."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scorer import Score

AT_LEAST = {
    "F1": 0.97,
    "timely F1": 0.93,
    "onset: warned before": 0.92,
    "  of high rates": 0.85,
    "onset: lead / time to collapse": 0.5,
    "sparse nets: precision": 0.90,
    "sparse nets: timely recall": 0.80,
    "cause right": 0.92,
    "first collapsing layer named": 0.95,
    "harmless deaths told as info": 0.80,
}
AT_MOST = {
    "healthy runs alarmed": 2 / 99,
    "twins alarmed": 1 / 110,
    "episodes per healthy run": 0.02,
    "abrupt: delay in looks": 1.0,
    "born dead: delay in looks": 3.0,
}


def print_targets(found: Sequence[Score]) -> None:
    """Each target beside its number and interval; what is missed says so."""
    known = {score.name: score for score in found}
    print("\ntargets")
    for bounds, sign in ((AT_LEAST, "≥"), (AT_MOST, "≤")):
        for name, bound in bounds.items():
            score = known[name]
            met = score.value >= bound if sign == "≥" else score.value <= bound
            said = "nothing to count" if math.isnan(score.value) else "met" if met else "MISSED"
            interval = f"[{score.low:.2f} {score.high:.2f}]"
            print(f"  {name.strip():32s}{sign} {bound:<8.3g}{score.value:6.3f} {interval:13s}  {said}")
