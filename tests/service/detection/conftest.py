"""A training in numbers: units that fire at stated rates, recorded as the SDK would, without any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from relumine.table import RecordTable, Row
from relumine.wire import Column, LayerInfo, Record
from relumine_server.detection.policy import Policy


def row(**fields: Any) -> Row:
    """A record as the detector gets it."""
    return RecordTable.of([Record(**fields)])[0]


@dataclass
class Training:
    """Writes records of simulated layers; ``rates`` may be changed between steps."""

    rates: dict[int, np.ndarray]
    batch: int = 64
    seed: int = 0
    learning_rate: float = 0.05
    info: dict[str, Any] = field(default_factory=dict)
    run: dict[str, float] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)
    nonfinite: int = 0
    weight_norm: float = 5.0
    records: list[Row] = field(default_factory=list)

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        self.silent = {layer_id: np.zeros(rates.size) for layer_id, rates in self.rates.items()}
        self.last_step = 0

    @property
    def layers(self) -> list[LayerInfo]:
        defaults = {"split": "linear"} | self.info
        return [LayerInfo(layer_id=i, name=f"fc{i}", units=r.size, **defaults) for i, r in self.rates.items()]

    def go(self, records: int, every: int = 10) -> Training:
        for _ in range(records):
            self.step(self.last_step + every)
        return self

    def step(self, step: int) -> None:
        run = {"output_spread": 1.0, "input_mean": 0.0, "input_std": 1.0} | self.run
        self.records.append(
            row(
                layer_id=0, first_step=step, step=step, n_examples=self.batch, nonfinite=self.nonfinite,
                learning_rates=[self.learning_rate], learning_rate=self.learning_rate, **run,
            )
        )  # fmt: skip
        self.records += [self._layer(layer_id, rates, step) for layer_id, rates in self.rates.items()]
        self.last_step = step

    def _layer(self, layer_id: int, rates: np.ndarray, step: int) -> Row:
        scalars = {"first_step": step, "step": step, "n_examples": self.batch, "learning_rate": self.learning_rate}
        if self.nonfinite:
            return row(layer_id=layer_id, nonfinite=rates.size, **scalars)
        active = self.random.binomial(self.batch, rates)
        ended = np.where(active > 0, self.silent[layer_id], 0)
        self.silent[layer_id] = np.where(active > 0, 0, self.silent[layer_id] + self.batch)
        top = np.where(active > 0, 2.0, -0.5)  # the pre-activation of a unit that was silent stayed below zero
        values = {"mean": 0.0, "var": 1.0, "max": top, "bias": 0.1, "update_shift": -0.001} | self.columns
        columns = {name: Column.pack(np.full(rates.size, v).astype(np.float32)) for name, v in values.items()}
        return row(
            layer_id=layer_id, since_step=self.last_step or None, weight_norm=self.weight_norm, update_norm=0.01,
            active=Column.pack(active.astype(np.uint16)), silent=Column.pack(self.silent[layer_id].astype(np.uint32)),
            longest_silence=Column.pack(ended.astype(np.uint32)), **columns, **scalars,
        )  # fmt: skip


@pytest.fixture
def train() -> Callable[..., Training]:
    """``train({1: rates, ...}, **settings)``: a simulated training; rates are one number or one per unit."""

    def build(rates: dict[int, float | Sequence[float]], units: int = 64, **settings: Any) -> Training:
        return Training(
            {i: np.broadcast_to(np.asarray(r, float), (units,)).copy() for i, r in rates.items()}, **settings
        )

    return build


@pytest.fixture
def policy() -> Policy:
    return Policy()
