"""Motion in the statistics of units: what may be the beginning of a death, seen before the server sees it.

It only decides how soon an upload is sent. What is dying is decided by the detector.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relumine._export.layer_totals import LayerTotals
from relumine.schemas.record_table import Array

# A unit is unusually silent from this multiple of its longest silence that ended, and of a step's examples.
SILENCE_FACTOR = 2.0

# More units of a layer that are unusually silent, as a fraction of its units; always at least one unit.
SILENT_FRACTION = 0.02

# A change of a layer's active rate, as a fraction of what it was.
RATE_CHANGE = 0.25


class MotionDetector:
    """Compares the units of all layers at their latest sampled step with those of the previous call."""

    def __init__(self) -> None:
        self._silent: Mapping[int, int] = {}
        self._rates: Mapping[int, float] = {}

    def has_moved(self, layers: Mapping[int, LayerTotals], units: Mapping[str, Array]) -> bool:
        """Return True if a layer is new, has lost units, changed its active rate, or is not finite any more.

        ``units`` are the columns of the aggregator, ``layers`` the totals by id.
        """
        silent: dict[int, int] = {}
        rates: dict[int, float] = {}
        moved = False
        for layer_id, totals in layers.items():
            if totals.previous_step is None:
                continue
            silent[layer_id] = _unusually_silent(units, totals.span, totals.latest_examples)
            rates[layer_id] = float(units["latest_active"][totals.span].mean()) / max(totals.latest_examples, 1)
            more_silent = silent[layer_id] - self._silent.get(layer_id, 0)
            usual = self._rates.get(layer_id, rates[layer_id])
            has_other_rate = abs(rates[layer_id] - usual) > RATE_CHANGE * usual
            moved = moved or has_other_rate or more_silent > SILENT_FRACTION * totals.units
        moved = moved or rates.keys() != self._rates.keys()
        self._silent = silent
        self._rates = rates
        return moved


def _unusually_silent(units: Mapping[str, Array], span: slice, examples: int) -> int:
    """Return how many units that were active before are silent for unusually long."""
    limit = SILENCE_FACTOR * np.maximum(units["longest_ever"][span], examples)
    return int(((units["total_active"][span] > 0) & (units["silent"][span] > limit)).sum())
