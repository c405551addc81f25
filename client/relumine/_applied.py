"""What a remedy did, as a value: every layer, unit and parameter that it changed, in words and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was changed.

    ``place`` is a layer's name or an optimizer's group, ``parameter`` what was changed in it, ``units`` which of its
    units (None: all, or there are none). ``before`` and ``after`` are the value, of several the mean; of weights, the
    root of their mean square.
    """

    place: str
    parameter: str
    units: tuple[int, ...] | None
    before: float | str | None
    after: float | str | None

    def __str__(self) -> str:
        whose = "" if self.units is None else f" of {plural(len(self.units), 'unit')}"
        return f"{self.place}: {self.parameter}{whose} {_word(self.before)} → {_word(self.after)}"


@dataclass(frozen=True, slots=True)
class Applied:
    """A remedy that was applied: ``text`` says it in a sentence, ``changes`` exactly, ``notes`` what to know besides.

    ``value`` is the remedy's number: the new learning rate, slope, or share. ``output_change`` is the largest absolute
    difference that it made to the model's output on the inputs; None where that was not measured.
    """

    action: str
    value: float | None
    text: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    output_change: float | None = None

    @property
    def units(self) -> dict[str, tuple[int, ...]]:
        """The units that were touched, by layer; only of remedies that go by units."""
        return {change.place: change.units for change in self.changes if change.units is not None}

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, strings, lists and dicts."""
        return {**asdict(self), "units": self.units}

    def __str__(self) -> str:
        return "\n".join((self.text, *(f"  {change}" for change in self.changes), *(f"! {one}" for one in self.notes)))


class Later:
    """What ``on_alert`` may return: not now, tell it again after the next step as long as it fires."""


LATER = Later()


def plural(count: int, noun: str) -> str:
    """``1 unit``, ``2 units``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of them, and how many more."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _word(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.4g}"
