"""The health of a run: what its layers and its watching say together. One definition for the SDK and the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from relumine.schemas.alert import Alert, Kind, Severity
from relumine.schemas.base import View
from relumine.schemas.watching import Watching

HealthStatus: TypeAlias = Literal["unknown", "unwatched", "healthy", "at_risk", "damaged", "collapsed", "diverged"]

MAX_LOST_SHARE = 0.1
"""The share of sampled steps that may be lost before nothing reassuring can be said of layers without an alert."""
MAX_NAMED = 5

_BY_KIND: Mapping[Kind, HealthStatus] = {
    "diverged": "diverged",
    "constant_output": "collapsed",
    "dead": "damaged",
    "born_dead": "damaged",
    "dying": "at_risk",
    "no_data": "unknown",
    "stalled": "unknown",
}
_WORST_FIRST: tuple[HealthStatus, ...] = ("diverged", "collapsed", "damaged", "at_risk", "unknown")
_UNLESS_UNWATCHED: frozenset[HealthStatus] = frozenset({"at_risk", "unknown"})
"""Not final: a dying layer may be dead by now, and a run that stopped reporting may have been unwatched before."""


class Health(View):
    """The health of a run, and the reason for it in words; the reason is null for ``healthy``.

    ``unknown``: nothing was analyzed so far, or not to the end, or the run or a layer of it stopped reporting.
    ``unwatched``: the training goes on and is not being watched. ``healthy``: layers were sampled up to the end and
    none is dying or dead. ``at_risk``: a layer is dying. ``damaged``: a layer is dead or was born dead. ``collapsed``:
    the output no longer depends on the input. ``diverged``: values are not finite.
    """

    status: HealthStatus
    reason: str | None


class Problem(NamedTuple):
    """A problem that holds now, or held when the run ended. ``layer`` is the layer's label; None stands for the run."""

    kind: Kind
    layer: str | None


def counts(kind: Kind, severity: Severity) -> bool:
    """Return whether an alert counts for the health of a run.

    One of severity ``info`` does not, except that a dead layer is dead even where its loss harms nothing so far.
    """
    return severity != "info" or kind == "dead"


def problem_health(problems: Iterable[Problem]) -> Health | None:
    """Return the health that problems alone mean; None without any that counts.

    Whether the training as a whole is being watched is no problem here: ``run_health`` takes it apart.
    """
    listed = [problem for problem in problems if problem.kind != "no_data" or problem.layer is not None]
    statuses = {_BY_KIND[problem.kind] for problem in listed if problem.kind in _BY_KIND}
    for status in _WORST_FIRST:
        if status in statuses:
            return Health(status=status, reason=_named(listed, status))
    return None


def run_health(problems: Health | None, watching: Watching, unknown: str | None) -> Health:
    """Return the health of a run from ``problem_health`` and whether it is being watched.

    ``unknown`` says why nothing can be said of layers without a problem; None where they were analyzed to the end. A
    dying layer that is no longer watched may be dead by now, so ``unwatched`` is worse than ``at_risk``.
    """
    if problems is not None and problems.status not in _UNLESS_UNWATCHED:
        return problems
    if watching.reason is not None:
        return Health(status="unwatched", reason=watching.explanation)
    if problems is not None:
        return problems
    if unknown is not None:
        return Health(status="unknown", reason=unknown)
    return Health(status="healthy", reason=None)


def health_of(watching: Watching, alerts: Iterable[Alert], unknown: str | None) -> Health:
    """Return the health from the alerts that hold, or held when the run ended; ``unknown`` as for ``run_health``."""
    counted = [alert for alert in alerts if counts(alert.kind, alert.severity) and alert.holds]
    holding = [Problem(alert.kind, alert.layer_label) for alert in counted]
    return run_health(problem_health(holding), watching, unknown)


def _named(problems: Iterable[Problem], status: HealthStatus) -> str:
    """Return the layers with the problem behind a status: ``fc1 and fc2 dead``, ``the output is constant``."""
    names: dict[Kind, list[str]] = {}
    for problem in problems:
        if _BY_KIND.get(problem.kind) == status:
            names.setdefault(problem.kind, []).append(problem.layer or "the run")
    return ", ".join(_phrase(kind, layers) for kind, layers in names.items())


def _phrase(kind: Kind, layers: list[str]) -> str:
    if kind == "constant_output":
        return "the output no longer depends on the input"
    if kind == "diverged":
        return "values are not finite"
    if kind == "stalled":
        return "the run stopped reporting, so the present state of its layers is not known"
    listed = ", ".join(layers[:MAX_NAMED])
    if len(layers) > MAX_NAMED:
        listed += f" and {len(layers) - MAX_NAMED} more"
    if kind == "no_data":
        return f"the present state of {listed} is not known"
    return f"{listed} {kind.replace('_', ' ')}"
