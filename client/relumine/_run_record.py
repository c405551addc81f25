"""Layer 0: what is measured of the run as a whole on a sampled step, merged like the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from relumine._sample import Sample
from relumine._sentinels import Seen
from relumine._site import Strided

EXTREME = {"input_min": min, "input_max": max, "update_ratio": max}
"""Of merged steps these keep the extreme; the others are those of the last step."""


class RunRecord:
    """Gathers the run's own numbers from sample to sample."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._sampled = 0
        self._nonfinite = 0
        self._marks = 0
        self._silent: dict[int, int] = {}
        self._latest: Sample | None = None
        self._found: dict[str, float] = {}

    def add(self, sample: Sample) -> None:
        """Fold a sample in."""
        self._first = sample.step if self._first is None else self._first
        self._sampled += 1
        self._marks += sample.marks
        self._silent |= dict.fromkeys(sample.silent, sample.step)
        self._latest = sample
        measured = _measure(sample.sentinels)
        self._nonfinite += sample.sentinels.expected - len(measured)
        for name, value in measured.items():
            keep = EXTREME.get(name)
            self._found[name] = keep(self._found[name], value) if keep and name in self._found else value
        if sample.loss is not None and math.isfinite(loss := float(sample.loss)):
            self._found["loss"] = loss

    def silent(self) -> list[dict[str, Any]]:
        """A record without examples for each layer that fell silent: looked for, not seen."""
        found = [{"layer_id": layer_id, "first_step": step, "step": step} for layer_id, step in self._silent.items()]
        self._silent.clear()
        return found

    def emit(self, layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The record of what was added; ``layers`` are the records that go with it."""
        sample = self._latest
        rates = [rate for rate in sample.learning_rates if math.isfinite(rate)] if sample else []
        record = {
            "layer_id": 0,
            "first_step": self._first or 0,
            "step": sample.step if sample else 0,
            "sampled_steps": max(self._sampled, 1),
            "n_examples": max((record["n_examples"] for record in layers), default=0),
            "nonfinite": self._nonfinite,
            "marks": self._marks,
            "learning_rate": max(rates, default=None),
            "learning_rates": rates or None,
            "update_ratio": _update_ratio(layers),
            **self._found,
        }
        self._first, self._sampled, self._nonfinite, self._marks = None, 0, 0, 0
        self._found = {}
        return record


def norms_of(weights: Strided | None) -> dict[str, float]:
    """Norms of weight, update and gradient, from the regular part and scaled to the whole."""
    if weights is None:
        return {}
    before, after = (part.float().cpu().numpy() for part in (weights.before, weights.after))
    with np.errstate(all="ignore"):
        update = after - before
    found = {"weight_norm": _norm(after), "update_norm": _norm(update)}
    if weights.gradient is not None:
        found["grad_norm"] = _norm(weights.gradient.float().cpu().numpy())
    scale = math.sqrt(weights.whole / max(before.size, 1))
    return {name: short(value * scale) for name, value in found.items() if math.isfinite(value)}


def short(value: float) -> float:
    """As float32 holds it: the rest would be bytes on the wire."""
    return float(np.float32(value))


def _norm(values: np.ndarray[Any, np.dtype[Any]]) -> float:
    with np.errstate(all="ignore"):  # of weights that blow up the norm is infinite; whoever asks leaves it out
        return math.sqrt(float(np.dot(values, values)))


def _measure(seen: Seen) -> dict[str, float]:
    """Mean, deviation, least and greatest of the input; the output's deviation over examples, averaged.

    The last is 0 where the output depends on no input. What is not finite is left out.
    """
    found: dict[str, float] = {}
    with np.errstate(all="ignore"):  # what is not finite is counted by whoever asks
        if seen.input is not None:
            x = seen.input.float().cpu().numpy()
            found = {"input_mean": x.mean(), "input_std": x.std(ddof=1), "input_min": x.min(), "input_max": x.max()}
        if seen.output is not None:
            found["output_spread"] = seen.output.float().cpu().numpy().std(0, ddof=1).mean()
    return {name: short(float(value)) for name, value in found.items() if math.isfinite(value)}


def _update_ratio(layers: Sequence[dict[str, Any]]) -> float | None:
    """‖ΔW‖ / ‖W‖ over all layers whose norms are known."""
    known = [(r["update_norm"], r["weight_norm"]) for r in layers if "update_norm" in r and "weight_norm" in r]
    update, weight = (math.hypot(*(pair[i] for pair in known)) for i in (0, 1))
    return short(update / weight) if weight > 0 and math.isfinite(update / weight) else None
