"""Goals on the held-out sets, and whether they are met: a line per goal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from research.scoring.scorer import Score

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
    "harmless deaths reported as info": 0.80,
}
AT_MOST = {
    "healthy runs alarmed": 2 / 99,
    "twins alarmed": 1 / 110,
    "episodes per healthy run": 0.02,
    "abrupt: delay in sampled steps": 1.0,
    "born dead: delay in sampled steps": 3.0,
}


def print_goals(scores: Sequence[Score]) -> None:
    """Print each goal beside its score and interval, and whether it is met."""
    by_name = {score.name: score for score in scores}
    print("\ngoals")
    for name, bound in AT_LEAST.items():
        score = by_name[name]
        _print_goal(score, f"≥ {bound:<8.3g}", is_met=score.value >= bound)
    for name, bound in AT_MOST.items():
        score = by_name[name]
        _print_goal(score, f"≤ {bound:<8.3g}", is_met=score.value <= bound)


def _print_goal(score: Score, bound: str, *, is_met: bool) -> None:
    verdict = "met" if is_met else "MISSED"
    if math.isnan(score.value):
        verdict = "nothing to count"
    interval = f"[{score.low:.2f} {score.high:.2f}]"
    print(f"  {score.name.strip():36s}{bound}{score.value:6.3f} {interval:13s}  {verdict}")
