"""Dead units of a layer, found by how long each has been silent. Pure; the server's detector asks the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from relumine.schemas import zero_failure
from relumine.schemas.record_table import Array


class LostFractions(NamedTuple):
    """Fractions of the units of a layer: that were active and have died, and that were never active."""

    dead: float
    born_dead: float


@dataclass(frozen=True, slots=True)
class UnitSilences:
    """Activity of the units of one layer on all sampled examples.

    Attributes:
        active: examples on which a unit was active, shape (units,).
        silent: examples since it was last active, shape (units,).
        longest_silence: its longest silence that ended, shape (units,).
        examples: examples of the layer in all.
    """

    active: Array
    silent: Array
    longest_silence: Array
    examples: int

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], span: slice, examples: int) -> Self:
        """Return the silences of the units in ``span`` of the aggregator's columns."""
        return cls(columns["total_active"][span], columns["silent"][span], columns["longest_ever"][span], examples)

    def lost_fractions(self, *, in_positions: bool) -> LostFractions:
        """Return the fractions of units that are dead, and that are born dead. A unit is never both.

        ``in_positions`` is true where examples and positions cannot be distinguished.
        """
        design_effect = zero_failure.POSITIONS_DESIGN_EFFECT if in_positions else 1.0
        ever_active = self.active > 0
        known = np.maximum(self.examples - self.silent, 1)  # examples up to the last activation
        rates = self.active[ever_active] / known[ever_active]
        median_rate = float(np.median(rates)) if rates.size else math.nan
        needed = zero_failure.examples_until_dead(self.active.size, median_rate, design_effect=design_effect)
        nats = np.minimum(self.active, known * zero_failure.RATE_CAP) / design_effect * np.log1p(self.silent / known)
        is_unusual = self.silent > zero_failure.SILENCE_FACTOR * self.longest_silence
        has_died = ever_active & is_unusual & (nats > zero_failure.SILENCE_NATS) & (self.silent >= needed)
        is_born_dead = ~ever_active & self._is_inactivity_unexplained(ever_active, design_effect)
        return LostFractions(float(has_died.mean()), float(is_born_dead.mean()))

    def _is_inactivity_unexplained(self, ever_active: Array, design_effect: float) -> bool:
        """Return True if units of the others' rate would have been active by now."""
        if self.examples < zero_failure.BORN_DEAD_EXAMPLES * design_effect:
            return False
        activations = design_effect * zero_failure.activations_until_comparable(self.active.size)
        return not ever_active.any() or float(self.active[ever_active].mean()) >= activations
