"""Layers whose units fire at stated rates, recorded as the SDK would: no torch, no training, a table per look.

The layers of one simulation are many runs side by side: what the detector says of a layer does not depend on its
neighbours. Pre-activations are Gaussian with a standard deviation of 1 and the mean that the rate asks for; a unit
that never fires lies 4.3 deviations below zero. Updates move a mean by a hundredth of a deviation, up or down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri

from relumine.table import BITS, DEFAULTS, SCALARS, UNIT_COLUMNS, WHOLE, RecordTable
from relumine.wire import LayerInfo

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

ALL_BITS = sum(BITS.values()) - BITS["active_positions"]
NEVER = 1e-5
"""Chance above zero of a unit that never fires."""
UPDATE = 0.01
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

    @property
    def scatter(self) -> float:
        """Variance of a record's mean where that of one pre-activation is 1."""
        return (1 + (self.positions - 1) * self.correlation) / self.counted


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
        self._above = np.clip(self._rates, NEVER, 1 - NEVER)
        self._mean = ndtri(self._above)

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
        noise = self._random.standard_normal((5, active.size))
        scatter = math.sqrt(self.how.scatter)
        weight, read = UPDATE * noise[2:4]
        return {
            "active": active,
            "silent": self._silent,
            "longest_silence": longest,
            "mean": self._mean + scatter * noise[0],
            "var": np.maximum(1 + math.sqrt(2) * scatter * noise[1], 0.05),
            "max": self._top(active),
            "bias": np.full(active.size, 0.1),
            "update_shift": UPDATE * noise[4],
            "shift_weight": weight,
            "shift_input": read,
            "shift_bias": np.zeros(active.size),
        }

    def _top(self, active: Floats) -> Floats:
        """The largest pre-activation, given how many lie above zero."""
        luck = self._random.random(active.size)
        above = self._above * (1 - luck ** (1 / np.maximum(active, 1)))
        below = (1 - self._above) * luck ** (1 / self.how.counted)
        top: Floats = self._mean + np.where(active > 0, -ndtri(np.maximum(above, 1e-12)), ndtri(below))
        return top

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
