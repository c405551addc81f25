"""Norms of a layer's weights, their update and their gradient, estimated from strided samples."""

from __future__ import annotations

import math

import numpy as np

from relumine._capture.step_stats import WeightSamples
from relumine.schemas.record_table import Array


def norms_of(weights: WeightSamples | None) -> dict[str, float]:
    """Return ``weight_norm``, ``update_norm`` and ``grad_norm``, without those that are not known or not finite.

    Norms of samples are scaled by √(numel / samples) to those of all weights.
    """
    if weights is None:
        return {}
    previous = weights.previous.float().cpu().numpy()
    updated = weights.updated.float().cpu().numpy()
    with np.errstate(all="ignore"):
        update = updated - previous
    norms = {"weight_norm": _norm(updated), "update_norm": _norm(update)}
    if weights.grad is not None:
        norms["grad_norm"] = _norm(weights.grad.float().cpu().numpy())
    scale = math.sqrt(weights.numel / max(previous.size, 1))
    return {name: to_float32(norm * scale) for name, norm in norms.items() if math.isfinite(norm)}


def to_float32(value: float) -> float:
    """Round to float32: further digits would only be bytes on the wire."""
    return float(np.float32(value))


def _norm(values: Array) -> float:
    with np.errstate(all="ignore"):  # the norm of weights that blow up is infinite, and the caller leaves it out
        return math.sqrt(float(np.dot(values, values)))
