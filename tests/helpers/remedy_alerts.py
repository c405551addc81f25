"""Alerts that propose remedies."""

from __future__ import annotations

from relumine.schemas.alert import Alert, AlertRun, Remedy


def alert(*proposed, layer="1", **fields):
    """Return an alert that proposes remedies, each given as (action, value)."""
    remedies = [
        Remedy(action=action, function=None, code="", parameter=None, value=value, reason="")
        for action, value in proposed
    ]
    values = {
        "id": "r.1.dying",
        "incident_id": "r.1",
        "project": "p",
        "run_id": "r",
        "run": AlertRun(name="r", group=None, url="http://server"),
        "title": "act1 is dying",
        "outcome": None,
        "kind": "dying",
        "severity": "critical",
        "cause": "unknown",
        "state": "firing",
        "evidence": {},
        "message": "act1 is dying",
        "url": "http://server",
        "opened_step": 1,
        "layer_id": 1,
        "resolved_reason": None,
        "inhibited_by": None,
        "silenced_by": None,
    }
    return Alert.model_construct(**(values | {"layer": layer, "layer_label": layer, "remedies": remedies} | fields))


LOWER = {"evidence": {"learning_rate": {"now": 0.3, "before": 0.05}}}
