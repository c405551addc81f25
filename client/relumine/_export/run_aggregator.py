"""Layer 0: measurements of the run as a whole on its sampled steps, merged like those of the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from relumine._capture.step_stats import ModelIO, StepStats
from relumine._export.input_jump import InputJumpDetector
from relumine._export.layer_record import LayerRecord
from relumine._export.logged_numbers import read_number
from relumine._export.norms import to_float32

# Of merged steps these keep the extreme; every other value is that of the latest step.
REDUCTIONS = {"input_min": min, "input_max": max}


class RunAggregator:
    """An aggregator of the run's own measurements over successive sampled steps."""

    def __init__(self) -> None:
        self._latest: StepStats | None = None
        self._first_step: int | None = None
        self._sampled_steps = 0
        self._nonfinite = 0
        self._marks = 0
        self._values: dict[str, float] = {}
        self._input_jumps = InputJumpDetector()
        self._missing_layers: dict[int, int] = {}

    def add(self, stats: StepStats) -> None:
        """Merge one sampled step."""
        self._latest = stats
        if self._first_step is None:
            self._first_step = stats.step
        self._sampled_steps += 1
        self._marks += stats.marks
        for layer_id in stats.missing_layers:
            self._missing_layers[layer_id] = stats.step
        measurements = _measure(stats.model_io)
        self._nonfinite += stats.model_io.measurement_count - len(measurements)
        self._input_jumps.add(measurements.get("input_mean"), measurements.get("input_std"))
        for name, value in measurements.items():
            self._merge(name, value)
        loss = read_number(stats.loss)
        if loss is not None:
            self._values["loss"] = loss

    def take_input_jump(self) -> bool:
        """Return True if the model's input has jumped since the last call."""
        jumped = self._input_jumps.jumped
        self._input_jumps.jumped = False
        return jumped

    def _merge(self, name: str, value: float) -> None:
        reduce = REDUCTIONS.get(name)
        if reduce is not None and name in self._values:
            value = reduce(self._values[name], value)
        self._values[name] = value

    def collect_missing(self) -> list[LayerRecord]:
        """Return a record without examples for each layer whose module ran without being recorded, and start over."""
        records = []
        for layer_id, step in self._missing_layers.items():
            records.append(LayerRecord({"layer_id": layer_id, "first_step": step, "step": step}, {}))
        self._missing_layers = {}
        return records

    def collect(self, layers: Sequence[LayerRecord]) -> LayerRecord:
        """Return the record of everything added since the last call, and start over.

        ``layers`` are the records of the same steps: ``n_examples`` and ``update_ratio`` come from them.
        """
        latest = self._latest
        learning_rates: list[float] = []
        if latest is not None:
            learning_rates = [lr for lr in latest.learning_rates if math.isfinite(lr)]
        scalars: dict[str, Any] = {
            "layer_id": 0,
            "first_step": self._first_step or 0,
            "step": latest.step if latest is not None else 0,
            "sampled_steps": max(self._sampled_steps, 1),
            "n_examples": max((layer.scalars["n_examples"] for layer in layers), default=0),
            "nonfinite": self._nonfinite,
            "marks": self._marks,
            "learning_rate": max(learning_rates, default=None),
            "learning_rates": learning_rates or None,
            "update_ratio": _update_ratio(layers),
            **self._values,
        }
        self._first_step = None
        self._sampled_steps = 0
        self._nonfinite = 0
        self._marks = 0
        self._values = {}
        return LayerRecord(scalars, {})


def _measure(model_io: ModelIO) -> dict[str, float]:
    """Return mean, standard deviation, minimum and maximum of the input, and the spread of the output.

    The spread is the standard deviation over examples, averaged over outputs: 0 where the output does not depend on
    the input. Values that are not finite are left out; the caller counts them.
    """
    values: dict[str, float] = {}
    with np.errstate(all="ignore"):
        if model_io.input is not None:
            x = model_io.input.float().cpu().numpy()
            values["input_mean"] = float(x.mean())
            values["input_std"] = float(x.std(ddof=1))
            values["input_min"] = float(x.min())
            values["input_max"] = float(x.max())
        if model_io.output is not None:
            y = model_io.output.float().cpu().numpy()
            values["output_spread"] = float(y.std(0, ddof=1).mean())
    return {name: to_float32(value) for name, value in values.items() if math.isfinite(value)}


def _update_ratio(layers: Sequence[LayerRecord]) -> float | None:
    """Return ‖ΔW‖ / ‖W‖ over all layers whose norms are known; None if that is not finite."""
    updates = []
    weights = []
    for layer in layers:
        if "update_norm" in layer.scalars and "weight_norm" in layer.scalars:
            updates.append(layer.scalars["update_norm"])
            weights.append(layer.scalars["weight_norm"])
    weight = math.hypot(*weights)
    if weight <= 0:
        return None
    ratio = math.hypot(*updates) / weight
    return to_float32(ratio) if math.isfinite(ratio) else None
