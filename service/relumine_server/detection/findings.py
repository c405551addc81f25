"""Readings and findings: what the detector measured and what it decided. Plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from relumine.schemas.alert import Cause, Kind, Severity
from relumine.schemas.run import LayerState

Transition: TypeAlias = Literal["raised", "changed", "resolved"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Measurements of one layer at one record. Fractions are shares of the layer's units, in [0, 1].

    ``excess_silence`` is the observed minus the expected silent share. ``kill_ratio`` is the upper decile over units of
    the drop of the mean pre-activation by one update, over the batch maximum. ``risk`` ranks layers.
    """

    layer_id: int
    step: int
    state: LayerState
    active_rate: float | None
    dying_fraction: float
    dead_fraction: float
    born_dead_fraction: float
    excess_silence: float
    kill_ratio: float
    risk: float


@dataclass(frozen=True, slots=True)
class Remedy:
    """One action, with the value of its parameter where there is one.

    ``function`` is the function of ``relumine.remedies`` with the name of the action, ``code`` is to be pasted.
    """

    action: str
    function: str | None
    code: str
    parameter: str | None
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The step at which half of the layer will be dead, with its 80 % interval; ``eta_s`` in seconds from now."""

    step: int
    low: int
    high: int
    confidence: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A decision about one layer at one step: a problem was raised, changed (severity or cause), or resolved.

    ``layer_id`` 0, with ``layer`` None, stands for the run. ``layer_label`` is the name of the layer for people, where
    it differs. ``evidence`` holds every key that an alert promises.
    """

    layer_id: int
    layer: str | None
    kind: Kind
    transition: Transition
    severity: Severity
    cause: Cause
    confidence: float
    step: int
    evidence: dict[str, Any] = field(default_factory=dict)
    forecast: Forecast | None = None
    remedies: tuple[Remedy, ...] = ()
    reason: str | None = None
    layer_label: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready values."""
        return asdict(self)
