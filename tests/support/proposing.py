"""Alerts that propose remedies."""

from __future__ import annotations

from relumine.views import Alert, Remedy


def alert(*proposed, layer="1", **fields):
    """An alert with remedies as (action, value)."""
    remedies = [Remedy(action=action, parameter=None, value=value, reason="so") for action, value in proposed]
    known = {
        "id": "r.1.dying",
        "kind": "dying",
        "severity": "critical",
        "cause": "unknown",
        "state": "firing",
        "evidence": {},
    }
    told = {"message": "act1 is dying", "url": "http://here", "opened_step": 1, "layer_id": 1}
    told |= dict.fromkeys(("resolved_reason", "muted_by", "silenced_by"))
    return Alert.model_construct(**(known | told | {"layer": layer, "remedies": remedies} | fields))


LOWER = {"evidence": {"learning_rate": {"now": 0.3, "before": 0.05}}}
