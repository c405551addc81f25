"""The health of a run as its row stores it: from its alerts, its watching, and what was delivered. Pure.

It never improves because a run ended: an alert that held at the end still counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from relumine.schemas.health import MAX_LOST_SHARE, Health, run_health
from relumine.schemas.watching import Watching
from relumine_server.runs.layer_pace import LayerPace

NOTHING_ANALYZED = "nothing was analyzed so far"
NO_LAYER_ANALYZED = "no layer was recorded so far"
DAMAGED_REPORT = "what the client reported of the watching is damaged"
WATCHING = Watching(state="watching")


class Evidence(NamedTuple):
    """The basis of the health of a run, besides its alerts.

    ``watching`` is what its client last reported. ``sampled_steps`` counts those that were analyzed, ``dropped`` those
    that were not delivered, by reason. ``unit_stat_rows`` are sampled steps with statistics of any layer. The rest is
    the pace of the records of layers.
    """

    watching: Mapping[str, Any] | None
    sampled_steps: int
    dropped: Mapping[str, int]
    unit_stat_rows: int
    last_layer_step: int | None
    since_layer: int
    longest_without_layer: int


def columns(problems: Health | None, evidence: Evidence) -> dict[str, Any]:
    """Return the columns of a run's health; ``problems`` is what its alerts mean."""
    reported = reported_watching(evidence.watching)
    unknown = DAMAGED_REPORT if reported is None else _unknown_reason(evidence)
    health = run_health(problems, reported or WATCHING, unknown)
    return {
        "health": health.status,
        "health_reason": health.reason,
        "problem_health": None if problems is None else problems.status,
        "problem_reason": None if problems is None else problems.reason,
    }


def reported_watching(watching: Mapping[str, Any] | None) -> Watching | None:
    """Return what a client reported; as watched where it has not. None where the stored report is damaged."""
    try:
        return WATCHING if watching is None else Watching.model_validate(watching)
    except ValidationError:
        return None


def _unknown_reason(evidence: Evidence) -> str | None:
    """Return why nothing can be said about layers without a problem; None where enough of them was analyzed."""
    if not evidence.sampled_steps:
        return NOTHING_ANALYZED
    if not evidence.unit_stat_rows:
        return NO_LAYER_ANALYZED
    if evidence.watching is None and _pace(evidence).has_stopped:
        return f"no layer was recorded since step {evidence.last_layer_step or 0:,}"
    dropped_steps = sum(evidence.dropped.values())
    total = evidence.sampled_steps + dropped_steps
    if dropped_steps > MAX_LOST_SHARE * total:
        return f"{dropped_steps:,} of {total:,} sampled steps were not delivered"
    return None


def _pace(evidence: Evidence) -> LayerPace:
    return LayerPace(evidence.last_layer_step, evidence.since_layer, evidence.longest_without_layer)
