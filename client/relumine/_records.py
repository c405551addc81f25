"""Snapshots become records of the wire, in the sender's thread: here numbers leave the device and are packed.

A record is built as plain JSON values: making and checking a ``wire.Record`` for each would take several times as long
as measuring it. What reads them back (every test, the local detector, the server) checks them against the contract.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from relumine._sentinels import Seen
from relumine._shift import split
from relumine._site import Snapshot, Strided
from relumine.wire import Array, LoggedNumber

COUNTS = frozenset({"active", "active_positions", "silent", "longest_silence"})
HALF = frozenset({"var", "max", "update_shift"})  # three decimals are enough for these
HALF_LIMIT = 6e4
DEAD_EXAMPLES = 1_000  # rule of three: a rate below 0.3 %


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
    sentinels: Seen
    learning_rates: tuple[float, ...]
    loss: Number | None


@dataclass(slots=True)
class _Memory:
    """What a layer's next record needs of its last one; arrays of shape (units,)."""

    step: int
    mean: Array
    bias: Array | None
    silent: Array


class Ledger:
    """Turns samples into records, in the order in which they were taken, and remembers what the next one needs."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[Array, Array, int]] = {}
        self._layers: dict[int, _Memory] = {}

    def records_of(self, sample: Sample) -> list[dict[str, Any]]:
        """The records of a sample: the run's own first, then one per layer."""
        layers = [self._layer_record(snapshot) for snapshot in sample.layers]
        return [_run_record(sample, layers), *layers]

    def shares(self) -> dict[int, dict[str, float]]:
        """The latest look by layer: shares of examples and units, for other loggers."""
        return {
            layer_id: {
                "active_rate": float(active.mean() / max(examples, 1)),
                "silent_fraction": float((active == 0).mean()),
                "dead_fraction": float((silent >= DEAD_EXAMPLES).mean()),
            }
            for layer_id, (active, silent, examples) in dict(self._latest).items()
        }

    def _layer_record(self, snapshot: Snapshot) -> dict[str, Any]:
        matrix = snapshot.matrix.cpu().numpy()
        rows = dict(zip(snapshot.names, matrix, strict=True))
        with np.errstate(over="ignore", invalid="ignore"):
            sure = bool(np.isfinite(matrix.sum()))  # one pass; only where it fails units are looked at
        nonfinite = 0 if sure else int(matrix.shape[1] - np.isfinite(matrix).all(0).sum())
        columns: dict[str, Any] = {}
        since = None
        if nonfinite:  # NaN makes z > 0 false: a diverged layer would look dead
            self._layers.pop(snapshot.layer_id, None)
        else:
            columns, since = self._columns(snapshot, rows)
        record = {
            "layer_id": snapshot.layer_id,
            "first_step": snapshot.step,
            "step": snapshot.step,
            "n_examples": snapshot.examples,
            "n_positions": snapshot.positions,
            "nonfinite": nonfinite,
            "learning_rate": snapshot.learning_rate,
            "since_step": since,
        }
        packed = {name: _pack(name, values) for name, values in columns.items()}
        return record | packed | _norms(snapshot.weights)

    def _columns(self, snapshot: Snapshot, rows: dict[str, Array]) -> tuple[dict[str, Array], int | None]:
        n = max(snapshot.positions, 1)
        mean = rows["total"] / n
        columns = {
            "active": rows["active"],
            "mean": mean,
            "var": np.maximum(rows["square"] / n - mean * mean, 0),
            "max": rows["top"],
        }
        columns |= {name: rows[name] for name in ("active_positions", "bias") if name in rows}
        before = self._layers.get(snapshot.layer_id)
        if before is not None and before.mean.size != mean.size:
            before = None
        columns |= _silence(before, rows["active"], snapshot.examples)
        since = None
        bias = rows.get("bias")
        if "response" in rows and before is not None and before.step == snapshot.since_step:
            parts = split((before.mean, before.bias), rows["response"], (mean, bias))
            columns |= dict(zip(("shift_weight", "shift_input", "shift_bias"), parts, strict=True))
            since = before.step
        if "after" in rows:
            columns["update_shift"] = rows["after"] + rows.get("new_bias", np.float32(0)) - mean
        elif bias is not None:
            columns["update_shift"] = rows["new_bias"] - bias
        self._layers[snapshot.layer_id] = _Memory(snapshot.step, mean, bias, columns["silent"])
        self._latest[snapshot.layer_id] = (rows["active"], columns["silent"], snapshot.examples)
        return columns, since


def _silence(before: _Memory | None, active: Array, examples: int) -> dict[str, Array]:
    """Examples since last active, counted over all looks: a merged count alone hides a silence at its end."""
    past = np.zeros_like(active) if before is None else before.silent
    fired = active > 0
    return {
        "silent": np.where(fired, np.float32(0), past + np.float32(examples)),
        "longest_silence": np.where(fired, past, np.float32(0)),
    }


def _norms(weights: Strided | None) -> dict[str, float]:
    """Norms of weight, update and gradient, from the regular part and scaled to the whole."""
    if weights is None:
        return {}
    before, after = (part.float().cpu().numpy() for part in (weights.before, weights.after))
    found = {"weight_norm": np.linalg.norm(after), "update_norm": np.linalg.norm(after - before)}
    if weights.gradient is not None:
        found["grad_norm"] = np.linalg.norm(weights.gradient.float().cpu().numpy())
    scale = math.sqrt(weights.whole / max(before.size, 1))
    return {name: float(value) * scale for name, value in found.items() if np.isfinite(value)}


def number_of(logged: Logged) -> dict[str, Any] | None:
    """The number for the wire; None where it is not finite. Raises ValueError for a name that cannot be sent."""
    value = float(logged.value)
    if not math.isfinite(value):
        return None
    return LoggedNumber(step=logged.step, name=logged.name, value=value).model_dump()


def _run_record(sample: Sample, layers: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [rate for rate in sample.learning_rates if math.isfinite(rate)]
    sentinels = _measure(sample.sentinels)
    loss = None if sample.loss is None else float(sample.loss)
    return {
        "layer_id": 0,
        "first_step": sample.step,
        "step": sample.step,
        "n_examples": max((record["n_examples"] for record in layers), default=0),
        "nonfinite": sample.sentinels.expected - len(sentinels),
        "learning_rate": max(rates, default=None),
        "learning_rates": rates or None,
        "update_ratio": _update_ratio(layers),
        "loss": loss if loss is not None and math.isfinite(loss) else None,
        **sentinels,
    }


def _measure(seen: Seen) -> dict[str, float]:
    """Mean, deviation, least and greatest of the input; the output's deviation over examples, averaged.

    The last is 0 where the output depends on no input. What is not finite is left out.
    """
    found: dict[str, float] = {}
    with np.errstate(all="ignore"):  # what is not finite is counted by whoever asks
        if seen.input is not None:
            x = seen.input.float().cpu().numpy()
            found = {
                "input_mean": x.mean(),
                "input_std": x.std(ddof=1),
                "input_min": x.min(),
                "input_max": x.max(),
            }
        if seen.output is not None:
            found["output_spread"] = seen.output.float().cpu().numpy().std(0, ddof=1).mean()
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _update_ratio(layers: list[dict[str, Any]]) -> float | None:
    """‖ΔW‖ / ‖W‖ over all layers whose norms are known."""
    known = [(r["update_norm"], r["weight_norm"]) for r in layers if "update_norm" in r and "weight_norm" in r]
    update, weight = (math.hypot(*(pair[i] for pair in known)) for i in (0, 1))
    return update / weight if weight > 0 and math.isfinite(update / weight) else None


def _pack(name: str, values: Array) -> dict[str, str]:
    """A column as the wire has it: the smallest dtype that keeps what the reader needs, base64 of its bytes."""
    if name in COUNTS:
        kind = _unsigned(values.max(initial=0))
    else:
        kind = "f2" if name in HALF and np.abs(values).max(initial=0) < HALF_LIMIT else "f4"
    return {"dtype": kind, "data": base64.b64encode(values.astype("<" + kind).tobytes()).decode()}


def _unsigned(largest: float) -> str:
    """The smallest unsigned integer of the wire that holds the count."""
    return "u1" if largest < 2**8 else "u2" if largest < 2**16 else "u4"
