"""The values that ``on_alert`` may return, and the callback ``stop_training``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relumine._runtime.text import plural
from relumine.errors import TrainingStopped

if TYPE_CHECKING:
    from relumine.schemas.alert import Alert

__all__ = ["RETRY_LATER", "Change", "RemedyResult", "RetryLater", "stop_training"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change that a remedy made.

    Attributes:
        target: the name of a layer, or a parameter group of an optimizer.
        parameter: what was changed in it.
        units: the units that were changed; None for all, or where there are no units.
        old: the value before. Of several values the mean, of weights the root mean square.
        new: the value after.
    """

    target: str
    parameter: str
    units: tuple[int, ...] | None
    old: float | str | None
    new: float | str | None

    def __str__(self) -> str:
        units = "" if self.units is None else f" of {plural(len(self.units), 'unit')}"
        return f"{self.target}: {self.parameter}{units} {_format(self.old)} → {_format(self.new)}"


@dataclass(frozen=True, slots=True)
class RemedyResult:
    """The result of a remedy that was applied.

    Attributes:
        action: the name of the remedy.
        value: its number: the new learning rate, slope, or fraction.
        text: a sentence about it.
        changes: every change, exactly.
        notes: what was left out, and why.
        output_change: the largest absolute difference of the model's output on the inputs; None if not measured.
    """

    action: str
    value: float | None
    text: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    output_change: float | None = None

    @property
    def units(self) -> dict[str, tuple[int, ...]]:
        """The units that were changed, by layer; empty for remedies that change whole layers."""
        return {change.target: change.units for change in self.changes if change.units is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts."""
        return {**asdict(self), "units": self.units}

    def __str__(self) -> str:
        changes = [f"  {change}" for change in self.changes]
        notes = [f"! {note}" for note in self.notes]
        return "\n".join([self.text, *changes, *notes])


class RetryLater:
    """The type of ``RETRY_LATER``."""


RETRY_LATER = RetryLater()
"""Returned by ``on_alert`` to be called again after the next optimizer step, as long as the alert is not resolved."""


def stop_training(alert: Alert) -> None:
    """End the training at the first critical alert, by raising TrainingStopped in it. To be passed as ``on_alert``.

    Example:
        >>> import relumine
        >>> # relumine.watch(model, optimizer, on_alert=relumine.stop_training)
    """
    if alert.severity == "critical":
        raise TrainingStopped(alert)


def _format(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.4g}"
