"""Which alerts come first where not all can be carried."""

from __future__ import annotations

from collections.abc import Sequence

from relumine.views import Alert

_SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}
_STATE_RANK = {"firing": 0, "regressed": 0, "pending": 1, "acknowledged": 2, "resolved": 3}


def worst_first(alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts by severity, state and confidence, then in the order of layers."""
    return sorted(alerts, key=_badness)


def _badness(alert: Alert) -> tuple[int, int, float, int, str]:
    return (
        _SEVERITY_RANK[alert.severity],
        _STATE_RANK[alert.state],
        -alert.confidence,
        alert.layer_id,
        alert.kind,
    )
