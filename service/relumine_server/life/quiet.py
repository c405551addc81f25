"""What keeps an alert from being told though it fires: another alert that explains it, or a silence that people set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, Protocol, TypeAlias

from relumine.views import AlertState, Cause, Kind, Severity

Fact: TypeAlias = Literal["project", "run_id", "group", "name", "layer", "kind", "severity", "cause"]
FACTS: tuple[Fact, ...] = ("project", "run_id", "group", "name", "layer", "kind", "severity", "cause")
"""What a silence may match."""


class Owner(Protocol):
    """The run that an alert belongs to, as far as a silence may ask for it."""

    project: str
    run_id: str
    group_name: str | None
    name: str | None


def facts(run: Owner, layer: str | None, kind: Kind, severity: Severity, cause: Cause) -> dict[Fact, str | None]:
    """What silences are held against."""
    mine: dict[Fact, str | None] = {"layer": layer, "kind": kind, "severity": severity, "cause": cause}
    return {**mine, "project": run.project, "run_id": run.run_id, "group": run.group_name, "name": run.name}


class About(NamedTuple):
    """As much of an alert as decides whether it mutes others, or is muted."""

    alert_id: str
    layer_id: int
    kind: Kind
    severity: Severity
    cause: Cause
    state: AlertState
    upstream: Sequence[int]


class Muters:
    """The open alerts of one run that explain others."""

    def __init__(self, alerts: Iterable[About]) -> None:
        self._lost: dict[int, str] = {}
        self._diverged: str | None = None
        for alert in sorted(alerts, key=lambda one: (one.layer_id, one.kind)):  # dead before dying
            if alert.state in {"pending", "resolved"} or alert.severity == "info":
                continue
            if alert.kind == "diverged":
                self._diverged = alert.alert_id
            elif alert.kind in {"dead", "born_dead"} or (alert.kind == "dying" and alert.severity == "critical"):
                self._lost.setdefault(alert.layer_id, alert.alert_id)

    def of(self, alert: About) -> str | None:
        """The alert that explains this one: a divergence of the run, or the first of the layers lost before it."""
        if alert.state == "resolved" or alert.kind == "diverged":
            return None
        if self._diverged is not None:
            return self._diverged
        if alert.cause != "upstream_collapse":
            return None
        before = (layer_id for layer_id in sorted(alert.upstream) if layer_id != alert.layer_id)
        return next((self._lost[layer_id] for layer_id in before if layer_id in self._lost), None)


@dataclass(frozen=True, slots=True)
class Silence:
    """For a time nothing is told of the alerts that match: every named fact is equal, or fits as a glob.

    With ``project`` it is about that one alone: its author may see no other.
    """

    silence_id: str
    project: str | None
    matchers: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime

    def is_active(self, now: datetime) -> bool:
        """Whether it holds at this moment."""
        return self.starts_at <= now < self.ends_at

    def matches(self, facts: Mapping[Fact, str | None]) -> bool:
        """Whether it is about this alert; what an alert does not have matches nothing."""
        return self.project in {None, facts.get("project")} and all(
            (value := facts.get(name)) is not None and fnmatchcase(value, pattern)  # type: ignore[call-overload]
            for name, pattern in self.matchers.items()
        )


def silenced_by(silences: Iterable[Silence], facts: Mapping[Fact, str | None], now: datetime) -> str | None:
    """The silence that holds an alert the longest, if any does."""
    holding = [one for one in silences if one.is_active(now) and one.matches(facts)]
    return max(holding, key=lambda one: (one.ends_at, one.silence_id)).silence_id if holding else None
