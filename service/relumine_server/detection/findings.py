"""What the detector measured and what it decided: pure values, no behaviour beyond their JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from relumine.views import Cause, Kind, LayerState, Severity

Transition: TypeAlias = Literal["raised", "changed", "resolved"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of one layer at one record. Fractions are shares of the layer's units, in [0, 1].

    ``excess_silence`` is the observed minus the expected silent share; ``kill_ratio`` the upper decile over
    units of what one update took from the mean pre-activation, over the batch maximum; ``risk`` orders layers.
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
    """One thing to do, with its number."""

    action: str
    parameter: str | None
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """When half of the layer will be dead at the present course: steps, and the 80 % interval."""

    step: int
    low: int
    high: int
    confidence: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A decision about one layer at one step: a problem was raised, changed (severity or cause), or resolved.

    ``layer_id`` 0 speaks of the run. ``evidence`` holds every key that an alert promises.
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

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        return asdict(self)
