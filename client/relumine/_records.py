"""Snapshots become records of the wire, in the sender's thread: here numbers leave the device and are packed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from relumine._site import Snapshot
from relumine.wire import Array, Column, LoggedNumber, Record

COUNTS = frozenset({"active", "active_positions", "silent", "longest_silence"})
HALF = frozenset({"var", "max", "update_shift"})  # three decimals are enough for these
HALF_LIMIT = 6e4


Number: TypeAlias = float | Tensor


@dataclass(frozen=True, slots=True)
class Logged:
    """A number the training logged; a tensor is read here, in the sender's thread, where waiting harms nobody."""

    step: int
    name: str
    value: Number


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled step of all layers, as it left the training thread."""

    step: int
    layers: tuple[Snapshot, ...]
    sentinel_names: tuple[str, ...]
    sentinels: Tensor | None
    learning_rates: tuple[float, ...]
    loss: Number | None


def records_of(sample: Sample) -> list[Record]:
    """The records of a sample: the run's own first, then one per layer."""
    layers = [_layer_record(snapshot) for snapshot in sample.layers]
    return [_run_record(sample, layers), *layers]


def number_of(logged: Logged) -> LoggedNumber | None:
    """The number for the wire; None where it is not finite."""
    value = float(logged.value)
    return LoggedNumber(step=logged.step, name=logged.name, value=value) if math.isfinite(value) else None


def _layer_record(snapshot: Snapshot) -> Record:
    matrix = snapshot.matrix.cpu().numpy()
    nonfinite = int(matrix.shape[1] - np.isfinite(matrix).all(0).sum())
    columns: dict[str, Any] = {}
    if not nonfinite:  # NaN makes z > 0 false: a diverged layer would look dead
        columns = {name: _pack(name, values) for name, values in zip(snapshot.names, matrix, strict=True)}
    record = Record.model_construct(
        layer_id=snapshot.layer_id,
        first_step=snapshot.step,
        step=snapshot.step,
        sampled_steps=1,
        n_examples=snapshot.examples,
        n_positions=snapshot.positions,
        nonfinite=nonfinite,
        learning_rate=snapshot.learning_rate,
        since_step=snapshot.since_step if columns else None,
    )
    return record.model_copy(update=columns | _finite(snapshot.scalar_names, snapshot.scalars))


def _run_record(sample: Sample, layers: list[Record]) -> Record:
    rates = [rate for rate in sample.learning_rates if math.isfinite(rate)]
    sentinels = _finite(sample.sentinel_names, sample.sentinels)
    loss = None if sample.loss is None else float(sample.loss)
    record = Record.model_construct(
        layer_id=0,
        first_step=sample.step,
        step=sample.step,
        sampled_steps=1,
        n_examples=max((record.n_examples for record in layers), default=0),
        n_positions=0,
        nonfinite=len(sample.sentinel_names) - len(sentinels),
        learning_rate=max(rates, default=None),
        learning_rates=rates or None,
        update_ratio=_update_ratio(layers),
        loss=loss if loss is not None and math.isfinite(loss) else None,
    )
    return record.model_copy(update=sentinels)


def _update_ratio(layers: list[Record]) -> float | None:
    """‖ΔW‖ / ‖W‖ over all layers whose norms are known."""
    weight = sum(r.weight_norm**2 for r in layers if r.weight_norm is not None and r.update_norm is not None)
    update = sum(r.update_norm**2 for r in layers if r.weight_norm is not None and r.update_norm is not None)
    return math.sqrt(update / weight) if weight > 0 and math.isfinite(update / weight) else None


def _finite(names: tuple[str, ...], values: Tensor | None) -> dict[str, float]:
    if values is None:
        return {}
    return {name: value for name, value in zip(names, values.tolist(), strict=True) if math.isfinite(value)}


def _pack(name: str, values: Array) -> Column:
    if name in COUNTS:
        return Column.pack(values.astype(_unsigned(values.max(initial=0))))
    if name in HALF and np.abs(values).max(initial=0) < HALF_LIMIT:
        return Column.pack(values.astype(np.float16))
    return Column.pack(values.astype(np.float32, copy=False))


def _unsigned(largest: float) -> str:
    """The smallest unsigned integer of the wire that holds the count."""
    return "u1" if largest < 2**8 else "u2" if largest < 2**16 else "u4"
