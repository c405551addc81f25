"""The health of a run as its row stores it: from its alerts, its watching, and what was delivered. Pure.

It never improves because a run ended: an alert that held at the end still counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from relumine.schemas.health import MAX_LOST_SHARE, Health, run_health
from relumine.schemas.watching import Watching

NOTHING_ANALYZED = "nothing was analyzed so far"
WATCHING = Watching(state="watching")


def columns(
    problems: Health | None, watching: Mapping[str, Any] | None, sampled_steps: int, dropped: Mapping[str, int]
) -> dict[str, Any]:
    """Return the columns of a run's health.

    ``problems`` is what its alerts mean, ``watching`` what its client last reported. ``sampled_steps`` counts those
    that were analyzed, ``dropped`` those that were not delivered, by reason.
    """
    reported = _reported(watching)
    health = run_health(problems, reported, _unknown_reason(sampled_steps, sum(dropped.values())))
    return {
        "health": health.status,
        "health_reason": health.reason,
        "problem_health": None if problems is None else problems.status,
        "problem_reason": None if problems is None else problems.reason,
    }


def _reported(watching: Mapping[str, Any] | None) -> Watching:
    """Return what a client reported; as watched where it has not, or where the stored report is damaged."""
    try:
        return WATCHING if watching is None else Watching.model_validate(watching)
    except ValidationError:
        return WATCHING


def _unknown_reason(sampled_steps: int, dropped_steps: int) -> str | None:
    """Return why nothing can be said about layers without a problem; None where enough of them was analyzed."""
    if not sampled_steps:
        return NOTHING_ANALYZED
    total = sampled_steps + dropped_steps
    if dropped_steps > MAX_LOST_SHARE * total:
        return f"{dropped_steps:,} of {total:,} sampled steps were not delivered"
    return None
