"""One layer being watched: what is summed while a step is sampled, and what is remembered between samples.

Everything stays on the layer's device; a snapshot leaves it as two small tensors. Nothing here waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from relumine import _reduce, _shift

STRIDED = 2048  # weights read per layer for its norms: the exact update norm costs 30 to 60 times more


class Strided(NamedTuple):
    """A regular part of a layer's weights before and after the update, and its gradient; ``whole`` is their number."""

    before: Tensor
    after: Tensor
    gradient: Tensor | None
    whole: int


@dataclass(slots=True)
class Snapshot:
    """One layer at one sampled step as raw sums, ready to leave the device. ``matrix`` has shape (len(names), units).

    Rows: active, total, square, top, maybe active_positions, bias and new_bias (before and after the update),
    response (W₁·x̄₀ of the look at ``since_step``) and after (W·x̄ with the weights after the update).
    """

    layer_id: int
    step: int
    since_step: int | None
    examples: int
    positions: int
    names: tuple[str, ...]
    matrix: Tensor
    weights: Strided | None
    learning_rate: float | None


@dataclass(slots=True)
class Site:
    """A place where an activation acts: module, and which call of it within one forward."""

    layer_id: int
    name: str
    activation: str
    can_die: bool
    units: int
    channels_first: bool
    has_positions: bool
    flattened: bool = False
    producer: nn.Module | None = None
    producer_name: str | None = None
    residual: bool = False
    sums: _reduce.Sums | None = None
    look: tuple[int, Tensor] | None = None
    """Step and mean input of the last look, for the response of the present weights to it."""
    _input: tuple[Tensor, int] | None = None
    _response: Tensor | None = None
    _bias: Tensor | None = None
    _weights: Tensor | None = None

    @property
    def split(self) -> Literal["linear", "batchnorm", "residual", "none"]:
        """Which split of shifts this layer has."""
        if self.producer is None:
            return "residual" if self.residual else "none"
        return "linear" if _shift.is_linear(self.producer) else "batchnorm"

    def see(self, z: Tensor, read: Tensor | None, *, matched: bool) -> None:
        """Take in one pre-activation. ``matched``: the producer made it, from ``read``."""
        first = self.sums is None
        sums = _reduce.reduce(z, _reduce.unit_dim(z, channels_first=self.channels_first))
        self.sums = sums if self.sums is None else self.sums.add(sums)
        if self.producer is None or not matched:
            return
        if first:
            bias = _shift.bias_of(self.producer)
            self._bias = None if bias is None else bias.detach().clone()
            self._weights = _strided(getattr(self.producer, "weight", None))
        if read is not None and _shift.is_linear(self.producer):
            self._see_input(self.producer, read, first=first)

    def _see_input(self, producer: nn.Module, read: Tensor, *, first: bool) -> None:
        total, count = _shift.input_sum(producer, read)
        if first:
            self._input = (total, count)
            if self.look is not None and self.look[1].shape == total.shape:
                self._response = _shift.respond(producer, self.look[1])
        elif self._input is not None and self._input[0].shape == total.shape:
            self._input = (self._input[0] + total, self._input[1] + count)
        else:  # images of differing size have no mean image
            self._input = None

    def snapshot(self, step: int, learning_rate: float | None) -> Snapshot | None:
        """What was summed since the step was armed, after the optimizer's update. None where nothing was.

        What can be worked out later is left to the sender's thread.
        """
        if self.sums is None:
            return None
        sums = self.sums
        rows = {"active": sums.active, "total": sums.total, "square": sums.square, "top": sums.top}
        if self.has_positions:
            rows["active_positions"] = sums.active_positions
        since = self._add_parameters(rows, step)
        names, matrix = tuple(rows), torch.stack([row.float() for row in rows.values()])
        strided = _compare(self.producer, self._weights)
        self.sums = self._input = self._response = self._bias = self._weights = None
        return Snapshot(
            self.layer_id, step, since, sums.examples, sums.positions, names, matrix, strided, learning_rate
        )

    def _add_parameters(self, rows: dict[str, Tensor], step: int) -> int | None:
        """Bias, and how the weights of now respond to mean inputs; returns the step since which shifts count."""
        if self.producer is None or self._weights is None:
            return None
        new_bias = _shift.bias_of(self.producer)
        if self._bias is not None and new_bias is not None:
            rows["bias"], rows["new_bias"] = self._bias, new_bias.detach()
        if not _shift.is_linear(self.producer):
            return None
        since = None
        if self.look is not None and self._response is not None:
            rows["response"], since = self._response, self.look[0]
        self.look = None
        if self._input is not None:
            mean_input = self._input[0] / self._input[1]
            rows["after"] = _shift.respond(self.producer, mean_input)
            self.look = (step, mean_input)
        return since


def _strided(weight: object) -> Tensor | None:
    if not isinstance(weight, Tensor):
        return None
    flat = weight.detach().reshape(-1)
    return flat[:: math.ceil(flat.numel() / STRIDED)].clone()


def _compare(producer: nn.Module | None, before: Tensor | None) -> Strided | None:
    weight = getattr(producer, "weight", None)
    after = _strided(weight)
    if before is None or after is None or not isinstance(weight, Tensor):
        return None
    gradient = None if weight.grad is None or weight.grad.is_sparse else _strided(weight.grad)
    return Strided(before, after, gradient, weight.numel())
