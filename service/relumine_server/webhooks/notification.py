"""A notification as a value, before it has a format, and the order of the alerts in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from relumine.schemas.alert import Alert, Severity, severity_rank
from relumine.schemas.run import RunSummary

_STATE_RANK = {"firing": 0, "regressed": 0, "pending": 1, "acknowledged": 2, "ended": 3, "resolved": 4}


class Ranked(Protocol):
    """The properties of an alert that decide its place in a list."""

    @property
    def severity(self) -> Severity: ...  # noqa: D102 - as in the alert
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def layer_id(self) -> int: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


RankedT = TypeVar("RankedT", bound=Ranked)


def by_severity(alerts: Iterable[RankedT]) -> list[RankedT]:
    """Return the alerts by severity, state and confidence, the most severe first, then in the order of layers."""
    return sorted(alerts, key=_rank)


def _rank(alert: Ranked) -> tuple[int, int, float, int, str]:
    return (
        -severity_rank(alert.severity),
        _STATE_RANK[alert.state],
        -alert.confidence,
        alert.layer_id,
        alert.kind,
    )


class DisabledWebhook(NamedTuple):
    """The subject of ``webhook.disabled``. It has the host only: the path of a URL is often a credential."""

    webhook_id: str
    host: str
    reason: str


class Notification(NamedTuple):
    """One notification. ``alerts`` are all of one run; ``total`` counts also those that were left out of ``alerts``."""

    event: str
    created_at: datetime
    alerts: Sequence[Alert]
    total: int
    url: str
    summary: RunSummary | None = None
    webhook: DisabledWebhook | None = None
