"""The health of a run: what its layers and its watching say together. One definition for the SDK and the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from relumine.schemas.alert import ENDED_WITH_RUN, Alert, Kind
from relumine.schemas.base import View
from relumine.schemas.watching import Watching

HealthStatus: TypeAlias = Literal["unknown", "unwatched", "healthy", "at_risk", "damaged", "collapsed", "diverged"]

_BY_KIND: Mapping[Kind, HealthStatus] = {
    "diverged": "diverged",
    "constant_output": "collapsed",
    "dead": "damaged",
    "born_dead": "damaged",
    "dying": "at_risk",
}
_WORST_FIRST: tuple[HealthStatus, ...] = ("diverged", "collapsed", "damaged")


class Health(View):
    """The health of a run, and the reason for it in words; the reason is null for ``healthy``.

    ``unknown``: nothing was analyzed so far, or not to the end. ``unwatched``: the training goes on and is not being
    watched. ``healthy``: layers were sampled up to the end and none is dying or dead. ``at_risk``: a layer is dying.
    ``damaged``: a layer is dead or was born dead. ``collapsed``: the output no longer depends on the input.
    ``diverged``: values are not finite.
    """

    status: HealthStatus
    reason: str | None


def health_of(watching: Watching, alerts: Iterable[Alert], unknown: str | None) -> Health:
    """Return the health from the alerts that hold, or held when the run ended.

    ``unknown`` says why nothing can be said of layers without an alert; None where they were analyzed to the end.
    Alerts of severity ``info`` do not count: harmless deaths are no damage.
    """
    holding = [alert for alert in alerts if alert.severity != "info" and _holds(alert)]
    statuses = {_BY_KIND[alert.kind] for alert in holding if alert.kind in _BY_KIND}
    for status in _WORST_FIRST:
        if status in statuses:
            return Health(status=status, reason=_named(holding, status))
    if watching.reason is not None:
        return Health(status="unwatched", reason=watching.explanation)
    if "at_risk" in statuses:
        return Health(status="at_risk", reason=_named(holding, "at_risk"))
    if unknown is not None:
        return Health(status="unknown", reason=unknown)
    return Health(status="healthy", reason=None)


def _holds(alert: Alert) -> bool:
    return alert.is_open or alert.resolved_reason in ENDED_WITH_RUN


def _named(alerts: Iterable[Alert], status: HealthStatus) -> str:
    """Return the layers of the alerts behind a status, with their problem."""
    parts = []
    for alert in alerts:
        if _BY_KIND.get(alert.kind) == status:
            parts.append(f"{alert.layer or 'the run'}: {alert.kind.replace('_', ' ')}")
    return ", ".join(parts)
