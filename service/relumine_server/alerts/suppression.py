"""Inhibition and silences: what holds back the notifications of an alert while it fires. Pure.

An alert is inhibited by another alert that explains it, and silenced by a silence that a person created.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from relumine.schemas.alert import OPEN_STATES, AlertState, Cause, Kind, Severity


class RunLabels(Protocol):
    """The columns of a run that silences may match."""

    @property
    def project(self) -> str: ...  # noqa: D102 - as in the table
    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def group_name(self) -> str | None: ...  # noqa: D102
    @property
    def name(self) -> str | None: ...  # noqa: D102


def matchable_labels(
    run: RunLabels, incident_id: str, layer: str | None, *, kind: Kind, severity: Severity, cause: Cause
) -> dict[str, str | None]:
    """Return the values of an alert that matchers are compared with, by the name of the matcher."""
    return {
        "project": run.project,
        "run_id": run.run_id,
        "incident_id": incident_id,
        "group": run.group_name,
        "name": run.name,
        "layer": layer,
        "kind": kind,
        "severity": severity,
        "cause": cause,
    }


class InhibitionInput(NamedTuple):
    """The properties of an alert that decide whether it inhibits others or is inhibited."""

    alert_id: str
    layer_id: int
    kind: Kind
    severity: Severity
    cause: Cause
    state: AlertState
    upstream: Sequence[int]


class Inhibitor:
    """The alerts of one run that explain others: a divergence, and layers that were lost."""

    def __init__(self, alerts: Iterable[InhibitionInput]) -> None:
        self._by_lost_layer: dict[int, str] = {}
        self._diverged: str | None = None
        for alert in sorted(alerts, key=lambda alert: (alert.layer_id, alert.kind)):  # dead before dying
            if alert.state == "pending" or alert.state not in OPEN_STATES or alert.severity == "info":
                continue
            if alert.kind == "diverged":
                self._diverged = alert.alert_id
            elif _is_loss(alert):
                self._by_lost_layer.setdefault(alert.layer_id, alert.alert_id)

    def inhibited_by(self, alert: InhibitionInput) -> str | None:
        """Return the id of the alert that explains this one: the run's divergence, or the first layer lost upstream."""
        if alert.state not in OPEN_STATES or alert.kind == "diverged":
            return None
        if self._diverged is not None:
            return self._diverged
        if alert.cause != "upstream_collapse":
            return None
        for layer_id in sorted(alert.upstream):
            if layer_id != alert.layer_id and layer_id in self._by_lost_layer:
                return self._by_lost_layer[layer_id]
        return None


def _is_loss(alert: InhibitionInput) -> bool:
    if alert.kind == "dying":
        return alert.severity == "critical"
    return alert.kind in {"dead", "born_dead"}


@dataclass(frozen=True, slots=True)
class Silence:
    """A period without notifications for the alerts that match every matcher.

    With ``project`` it applies to that project alone: the key of its author may see no other.
    """

    silence_id: str
    project: str | None
    matchers: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime

    def is_active(self, now: datetime) -> bool:
        """Return True between the start and the end of the silence."""
        return self.starts_at <= now < self.ends_at

    def matches(self, labels: Mapping[str, str | None]) -> bool:
        """Return True where every matcher equals the alert's value or matches it as a glob; a missing value never."""
        if self.project not in {None, labels.get("project")}:
            return False
        for name, pattern in self.matchers.items():
            value = labels.get(name)
            if value is None or not fnmatchcase(value, pattern):
                return False
        return True


def silenced_by(silences: Iterable[Silence], labels: Mapping[str, str | None], now: datetime) -> str | None:
    """Return the id of the active silence that matches and ends last, None without any."""
    matching = [silence for silence in silences if silence.is_active(now) and silence.matches(labels)]
    if not matching:
        return None
    return max(matching, key=lambda silence: (silence.ends_at, silence.silence_id)).silence_id
