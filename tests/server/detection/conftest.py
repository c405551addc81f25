"""A simulated training: units that are active at stated rates, recorded as the SDK would, without any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from relumine.schemas.record import Column, Record
from relumine.schemas.record_table import RecordTable, Row
from relumine.schemas.upload import LayerInfo
from relumine_server.detection.policy import Policy

RUN_SIGNALS = {"output_spread": 1.0, "input_mean": 0.0, "input_std": 1.0}
UNIT_COLUMNS = {"mean": 0.0, "var": 1.0, "bias": 0.1, "update_shift": -0.001}


@dataclass
class Training:
    """A source of records of simulated layers.

    ``rates`` and all settings may be changed between sampled steps. ``run_signals`` and ``columns`` replace default
    values of the run's record and of the units' columns.
    """

    rates: dict[int, np.ndarray]
    batch: int = 64
    seed: int = 0
    learning_rate: float = 0.05
    info: dict[str, Any] = field(default_factory=dict)
    run_signals: dict[str, float] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)
    nonfinite: int = 0
    weight_norm: float = 5.0
    last_step: int = 0
    _rows: list[Row] = field(default_factory=list)
    _unread: list[Record] = field(default_factory=list)

    def __post_init__(self):
        self.restart()

    def restart(self) -> None:
        """Begin without silences, at the first random number, as after ``rates`` got other shapes."""
        self.random = np.random.default_rng(self.seed)
        self.silence = {layer_id: np.zeros(rates.size) for layer_id, rates in self.rates.items()}

    @property
    def records(self) -> list[Row]:
        """The records as the detector reads them: all since the last call are converted together."""
        self._rows += RecordTable.from_records(self._unread)
        self._unread.clear()
        return self._rows

    @property
    def layers(self) -> list[LayerInfo]:
        settings = {"split": "linear"} | self.info
        return [LayerInfo(layer_id=i, name=f"fc{i}", units=rates.size, **settings) for i, rates in self.rates.items()]

    def sample(self, steps: int, every: int = 10) -> Training:
        """Record this many more sampled steps."""
        for _ in range(steps):
            self.sample_step(self.last_step + every)
        return self

    def sample_step(self, step: int) -> None:
        signals = RUN_SIGNALS | self.run_signals
        self._unread.append(
            Record(
                layer_id=0, first_step=step, step=step, n_examples=self.batch, nonfinite=self.nonfinite,
                learning_rates=[self.learning_rate], learning_rate=self.learning_rate, **signals,
            )
        )  # fmt: skip
        self._unread += [self._layer_record(layer_id, rates, step) for layer_id, rates in self.rates.items()]
        self.last_step = step

    def _layer_record(self, layer_id: int, rates: np.ndarray, step: int) -> Record:
        scalars = {"first_step": step, "step": step, "n_examples": self.batch, "learning_rate": self.learning_rate}
        if self.nonfinite:
            return Record(layer_id=layer_id, nonfinite=rates.size, **scalars)
        active = self.random.binomial(self.batch, rates)
        ended_silence = np.where(active > 0, self.silence[layer_id], 0)
        self.silence[layer_id] = np.where(active > 0, 0, self.silence[layer_id] + self.batch)
        # The pre-activation of a unit that was silent stayed below zero.
        highest = np.where(active > 0, 2.0, -0.5)
        values = UNIT_COLUMNS | {"max": highest} | self.columns
        columns = {name: Column.pack(np.full(rates.size, v).astype(np.float32)) for name, v in values.items()}
        return Record(
            layer_id=layer_id, since_step=self.last_step or None, weight_norm=self.weight_norm, update_norm=0.01,
            active=Column.pack(active.astype(np.uint16)), silent=Column.pack(self.silence[layer_id].astype(np.uint32)),
            longest_silence=Column.pack(ended_silence.astype(np.uint32)), **columns, **scalars,
        )  # fmt: skip


@pytest.fixture
def train() -> Callable[..., Training]:
    """``train({1: rates, ...}, **settings)``: a simulated training; rates are one number or one per unit."""

    def build(rates: dict[int, float | Sequence[float]], units: int = 64, **settings: Any) -> Training:
        arrays = {i: np.broadcast_to(np.asarray(r, float), (units,)).copy() for i, r in rates.items()}
        return Training(arrays, **settings)

    return build


@pytest.fixture
def policy() -> Policy:
    return Policy()
