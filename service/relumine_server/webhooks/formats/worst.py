"""Which alerts come first where not all can be carried."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

_SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}
_STATE_RANK = {"firing": 0, "regressed": 0, "pending": 1, "acknowledged": 2, "resolved": 3}


class Ranked(Protocol):
    """An alert, as far as its place among others goes."""

    @property
    def severity(self) -> str: ...  # noqa: D102 - as in the alert
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def layer_id(self) -> int: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


RankedT = TypeVar("RankedT", bound=Ranked)


def worst_first(alerts: Iterable[RankedT]) -> list[RankedT]:
    """The alerts by severity, state and confidence, then in the order of layers."""
    return sorted(alerts, key=_badness)


def _badness(alert: Ranked) -> tuple[int, int, float, int, str]:
    return (
        _SEVERITY_RANK[alert.severity],
        _STATE_RANK[alert.state],
        -alert.confidence,
        alert.layer_id,
        alert.kind,
    )
