"""Layers whose units fire at stated rates, recorded as the SDK would: no torch, no training, a table per look.

The layers of one simulation are many runs side by side: what the detector says of a layer does not depend on its
neighbours. Pre-activations are stand-ins that agree with the counts; nothing about them changes over time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np

from relumine.table import BITS, DEFAULTS, SCALARS, UNIT_COLUMNS, WHOLE, RecordTable
from relumine.wire import LayerInfo

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

ALL_BITS = sum(BITS.values()) - BITS["active_positions"]
STEADY = {"update_shift": -0.001, "shift_weight": -0.001, "shift_input": 0.001, "shift_bias": 0.0}
RUN = {"input_mean": 0.0, "input_std": 1.0, "input_min": -3.0, "input_max": 3.0, "update_ratio": 0.001,
       "output_spread": 1.0, "loss": 1.0}  # fmt: skip
RATE = 0.05
"""Learning rate, which never changes."""
STEADY_SCALARS = {"learning_rate": RATE, "weight_norm": 2.0, "update_norm": 0.002}


@dataclass(frozen=True)
class Look:
    """How a look is taken. With ``positions`` > 1 counts are of positions, which cannot be told from examples.

    ``correlation`` is that of two positions of one example; ``merged`` steps make one record.
    """

    batch: int = 32
    positions: int = 1
    correlation: float = 0.0
    merged: int = 1
    every: int = 10

    @property
    def counted(self) -> int:
        """What a record counts: examples, or positions."""
        return self.batch * self.positions * self.merged

    def silence_nats(self, rate: float) -> float:
        """-log of the chance that a unit of this rate is silent, per counted example or position."""
        if not self.correlation:
            return -math.log1p(-rate)
        a, b = _beta(rate, self.correlation)
        chances = (math.log((b + i) / (a + b + i)) for i in range(self.positions))
        return -sum(chances) / self.positions


def _beta(rate: Any, correlation: float) -> tuple[Any, Any]:
    """Of the rate from one example to the next, so that positions of one example are correlated like this."""
    spread = (1 - correlation) / correlation
    return rate * spread, (1 - rate) * spread


class Simulation:
    """``rates`` has shape (layers, units) and may be replaced between looks."""

    def __init__(self, rates: Floats, look: Look, seed: int) -> None:
        self.how = look
        self.step = 0
        self._random = np.random.default_rng(seed)
        self._silent = np.zeros(rates.size)
        self.set_rates(rates)

    def set_rates(self, rates: Floats) -> None:
        """From the next look on."""
        self._rates = rates.ravel()
        self._layers, self._units = rates.shape
        inverse = NormalDist().inv_cdf
        self._mean = np.array([inverse(min(max(rate, 1e-6), 1 - 1e-6)) for rate in self._rates.tolist()])

    @property
    def layers(self) -> list[LayerInfo]:
        """As the SDK would describe them."""
        kind: Any = "positions" if self.how.positions > 1 else "examples"
        return [
            LayerInfo(layer_id=i + 1, name=f"layer{i + 1}", units=self._units, n_unit=kind, split="linear")
            for i in range(self._layers)
        ]

    def look(self) -> RecordTable:
        """The records of the next look: the run's own, then one per layer."""
        self.step += self.how.every
        active, longest = np.zeros(self._rates.size), np.zeros(self._rates.size)
        n = self.how.batch * self.how.positions
        for _ in range(self.how.merged):
            fired = self._fired()
            active += fired
            longest = np.maximum(longest, np.where(fired > 0, self._silent, 0))
            self._silent = np.where(fired > 0, 0, self._silent + n)
        return self._table(self._columns(active, longest))

    def _fired(self) -> Floats:
        """How often each unit is active in one step."""
        look = self.how
        if not look.correlation:
            return self._random.binomial(look.batch * look.positions, self._rates).astype(np.float64)
        known = self._rates > 0
        own = self._random.beta(*_beta(self._rates[known], look.correlation), size=(look.batch, int(known.sum())))
        fired = np.zeros(self._rates.size)
        fired[known] = self._random.binomial(look.positions, own).sum(0)
        return fired

    def _columns(self, active: Floats, longest: Floats) -> dict[str, Floats]:
        top = np.where(active > 0, 0.1 + 0.5 * np.log1p(active), -0.1)
        shown = {"active": active, "silent": self._silent, "longest_silence": longest, "mean": self._mean, "max": top}
        steady = {"var": 1.0, "bias": 0.1, **STEADY}
        return shown | {name: np.full(active.size, value) for name, value in steady.items()}

    def _table(self, columns: dict[str, Floats]) -> RecordTable:
        n = self._layers + 1
        own = STEADY_SCALARS | {"step": self.step, "first_step": self.step - self.how.merged + 1}
        own |= {"sampled_steps": self.how.merged, "n_examples": self.how.counted}
        if self.step > self.how.every:
            own["since_step"] = self.step - self.how.every
        scalars = {
            name: np.full(n, own.get(name, DEFAULTS.get(name, np.nan)), np.int64 if name in WHOLE else np.float64)
            for name in SCALARS
            if name != "layer_id"
        }
        for name, value in RUN.items():
            scalars[name][0] = value
        bits = np.where(np.arange(n) > 0, ALL_BITS, 0)
        return RecordTable(
            scalars | {"layer_id": np.arange(n)},
            np.where(np.arange(n) > 0, self._units, 0),
            bits,
            {name: columns[name] for name in UNIT_COLUMNS if name in columns},
            ((RATE,), *(None,) * self._layers),
        )
