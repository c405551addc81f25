"""Simulated layers whose units are active at stated rates, recorded as the SDK would: no torch, no training.

The layers of one simulation are many runs side by side, because the detector judges each layer independently of its
neighbours. Pre-activations are Gaussian with a standard deviation of 1 and the mean that the rate implies; that of a
unit that is never active is 4.3 below zero. Updates move a mean by a hundredth of a standard deviation, up or down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri

from relumine.schemas.record_table import COLUMN_BITS, DEFAULTS, INTEGER_COLUMNS, SCALARS, UNIT_COLUMNS, RecordTable
from relumine.schemas.upload import LayerInfo

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

ALL_BITS = sum(COLUMN_BITS.values()) - COLUMN_BITS["active_positions"]
MIN_RATE = 1e-5
"""Chance above zero of a unit that is never active."""
UPDATE = 0.01
RUN_SCALARS = {
    "input_mean": 0.0,
    "input_std": 1.0,
    "input_min": -3.0,
    "input_max": 3.0,
    "update_ratio": 0.001,
    "output_spread": 1.0,
    "loss": 1.0,
}
LEARNING_RATE = 0.05
CONSTANT_SCALARS = {"learning_rate": LEARNING_RATE, "weight_norm": 2.0, "update_norm": 0.002}


@dataclass(frozen=True)
class Sampling:
    """Parameters of simulated records. With ``positions`` > 1 counts are of positions, indistinguishable from examples.

    ``correlation`` is that of two positions of one example; a record merges ``merged`` sampled steps; ``every`` is the
    number of steps from one record to the next.
    """

    batch: int = 32
    positions: int = 1
    correlation: float = 0.0
    merged: int = 1
    every: int = 10

    @property
    def counted(self) -> int:
        """Number of examples, or positions, in a record."""
        return self.batch * self.positions * self.merged

    @property
    def mean_variance(self) -> float:
        """Variance of a record's mean where that of one pre-activation is 1."""
        return (1 + (self.positions - 1) * self.correlation) / self.counted

    def silence_nats(self, rate: float) -> float:
        """Return -log of the chance that a unit of this rate is silent, per counted example or position."""
        if not self.correlation:
            return -math.log1p(-rate)
        a, b = _beta_parameters(rate, self.correlation)
        log_chances = (math.log((b + i) / (a + b + i)) for i in range(self.positions))
        return -sum(log_chances) / self.positions


def _beta_parameters(rate: Any, correlation: float) -> tuple[Any, Any]:
    """Return the beta distribution of the rate of an example that correlates the positions of one example like this."""
    scale = (1 - correlation) / correlation
    return rate * scale, (1 - rate) * scale


class Simulation:
    """Layers of units. ``rates`` has shape (layers, units) and may be replaced between records."""

    def __init__(self, rates: Floats, sampling: Sampling, seed: int) -> None:
        self.sampling = sampling
        self.step = 0
        self._random = np.random.default_rng(seed)
        self._silent = np.zeros(rates.size)
        self.set_rates(rates)

    def set_rates(self, rates: Floats) -> None:
        """Change the rates from the next record on."""
        self._rates = rates.ravel()
        self._layers, self._units = rates.shape
        self._positive_share = np.clip(self._rates, MIN_RATE, 1 - MIN_RATE)
        self._mean = ndtri(self._positive_share)

    @property
    def layers(self) -> list[LayerInfo]:
        """The layers as the SDK would describe them."""
        n_unit: Any = "positions" if self.sampling.positions > 1 else "examples"
        return [
            LayerInfo(layer_id=i + 1, name=f"layer{i + 1}", units=self._units, n_unit=n_unit, split="linear")
            for i in range(self._layers)
        ]

    def next_records(self) -> RecordTable:
        """Return the next records: the run's own, then one per layer."""
        self.step += self.sampling.every
        active = np.zeros(self._rates.size)
        longest_silence = np.zeros(self._rates.size)
        n = self.sampling.batch * self.sampling.positions
        for _ in range(self.sampling.merged):
            counts = self._active_counts()
            active += counts
            longest_silence = np.maximum(longest_silence, np.where(counts > 0, self._silent, 0))
            self._silent = np.where(counts > 0, 0, self._silent + n)
        return self._table(self._columns(active, longest_silence))

    def _active_counts(self) -> Floats:
        """Return how often each unit is active in one sampled step."""
        sampling = self.sampling
        if not sampling.correlation:
            return self._random.binomial(sampling.batch * sampling.positions, self._rates).astype(np.float64)
        can_be_active = self._rates > 0
        a, b = _beta_parameters(self._rates[can_be_active], sampling.correlation)
        rates = self._random.beta(a, b, size=(sampling.batch, int(can_be_active.sum())))
        counts = np.zeros(self._rates.size)
        counts[can_be_active] = self._random.binomial(sampling.positions, rates).sum(0)
        return counts

    def _columns(self, active: Floats, longest_silence: Floats) -> dict[str, Floats]:
        noise = self._random.standard_normal((5, active.size))
        deviation = math.sqrt(self.sampling.mean_variance)
        return {
            "active": active,
            "silent": self._silent,
            "longest_silence": longest_silence,
            "mean": self._mean + deviation * noise[0],
            "var": np.maximum(1 + math.sqrt(2) * deviation * noise[1], 0.05),
            "max": self._maximum(active),
            "bias": np.full(active.size, 0.1),
            "update_shift": UPDATE * noise[4],
            "shift_weight": UPDATE * noise[2],
            "shift_input": UPDATE * noise[3],
            "shift_bias": np.zeros(active.size),
        }

    def _maximum(self, active: Floats) -> Floats:
        """Draw the largest pre-activation, given how many are above zero."""
        uniform = self._random.random(active.size)
        if_positive = self._positive_share * (1 - uniform ** (1 / np.maximum(active, 1)))
        if_negative = (1 - self._positive_share) * uniform ** (1 / self.sampling.counted)
        deviation = np.where(active > 0, -ndtri(np.maximum(if_positive, 1e-12)), ndtri(if_negative))
        maximum: Floats = self._mean + deviation
        return maximum

    def _table(self, columns: dict[str, Floats]) -> RecordTable:
        n = self._layers + 1
        common = CONSTANT_SCALARS | {"step": self.step, "first_step": self.step - self.sampling.merged + 1}
        common |= {"sampled_steps": self.sampling.merged, "n_examples": self.sampling.counted}
        if self.step > self.sampling.every:
            common["since_step"] = self.step - self.sampling.every
        scalars: dict[str, Any] = {"layer_id": np.arange(n)}
        for name in SCALARS:
            if name != "layer_id":
                value = common.get(name, DEFAULTS.get(name, np.nan))
                scalars[name] = np.full(n, value, np.int64 if name in INTEGER_COLUMNS else np.float64)
        for name, value in RUN_SCALARS.items():
            scalars[name][0] = value
        is_layer = np.arange(n) > 0
        return RecordTable(
            scalars,
            np.where(is_layer, self._units, 0),
            np.where(is_layer, ALL_BITS, 0),
            {name: columns[name] for name in UNIT_COLUMNS if name in columns},
            ((LEARNING_RATE,), *(None,) * self._layers),
        )
