"""References to alerts of one run, as a delivery stores them: ``{problem: [[first_layer, last_layer], …]}``.

Layers that die together are neighbours, so ten thousand references take a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from relumine.schemas.alert import Kind, Severity, problem_of, severity_rank


def alert_id(run_id: str, layer_id: int, kind: Kind) -> str:
    """Return the id of an alert. It contains the run's id, so that every query for the alert can name the run.

    It does not change where ``dying`` becomes ``dead``.
    """
    return f"{run_id}.{layer_id}.{problem_of(kind)}"


def run_of(alert: str) -> str:
    """Return the run id that an alert id contains."""
    return alert.split(".", 1)[0]


AlertSeverity: TypeAlias = tuple[str, Severity]
"""``(alert_id, severity)`` of an alert to notify of."""
AlertRef: TypeAlias = tuple[int, str]
"""``(layer_id, problem)``, which identifies an alert within its run."""
AlertRefs: TypeAlias = dict[str, list[list[int]]]
"""References by problem, as inclusive ranges of layer ids in ascending order."""


def from_alerts(alerts: Sequence[AlertSeverity], min_severity: Severity) -> AlertRefs:
    """Return references to the alerts of at least ``min_severity``."""
    return pack(ref_of(alert_id) for alert_id, severity in alerts if at_least(severity, min_severity))


def at_least(severity: Severity, min_severity: Severity) -> bool:
    """Return True where ``severity`` is ``min_severity`` or worse."""
    return severity_rank(severity) >= severity_rank(min_severity)


def pack(refs: Iterable[AlertRef]) -> AlertRefs:
    """Return single references as ranges of layers by problem."""
    packed: AlertRefs = {}
    for layer_id, problem in sorted(set(refs)):
        ranges = packed.setdefault(problem, [])
        if ranges and ranges[-1][1] == layer_id - 1:
            ranges[-1][1] = layer_id
        else:
            ranges.append([layer_id, layer_id])
    return packed


def unpack(packed: AlertRefs) -> set[AlertRef]:
    """Return the single references of ranges."""
    refs: set[AlertRef] = set()
    for problem, ranges in packed.items():
        for first, last in ranges:
            refs.update((layer_id, problem) for layer_id in range(first, last + 1))
    return refs


def readable(stored: Mapping[str, Any]) -> AlertRefs:
    """Return stored references; none where they are damaged, so that new ones can be added to them."""
    try:
        return pack(unpack(dict(stored)))
    except (ValueError, TypeError, AttributeError):
        return {}


def merge(packed: AlertRefs, added: AlertRefs) -> AlertRefs:
    """Return the union of both."""
    return pack(unpack(packed) | unpack(added))


def count(packed: AlertRefs) -> int:
    """Return the number of alerts referred to."""
    return sum(last - first + 1 for ranges in packed.values() for first, last in ranges)


def ref_of(alert_id: str) -> AlertRef:
    """Return the reference to an alert within its run."""
    _, layer_id, problem = alert_id.rsplit(".", 2)
    return int(layer_id), problem
