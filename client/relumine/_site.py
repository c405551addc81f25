"""One layer being watched: what is summed while a step is sampled, and what is remembered between samples.

Everything stays on the layer's device; a snapshot leaves it as two small tensors. Nothing here waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from relumine import _reduce, _shift

STRIDED = 2048  # weights read per layer for its norms: the exact update norm costs 30 to 60 times more


@dataclass(slots=True)
class Snapshot:
    """One layer at one sampled step, ready to leave the device. ``matrix`` has shape (len(names), units)."""

    layer_id: int
    step: int
    since_step: int | None
    examples: int
    positions: int
    names: tuple[str, ...]
    matrix: Tensor
    scalar_names: tuple[str, ...]
    scalars: Tensor | None
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
    look: _shift.Look | None = None
    _input: tuple[Tensor, int] | None = None
    _response: Tensor | None = None
    _bias: Tensor | None = None
    _weights: Tensor | None = None
    _silent: Tensor | None = None
    _longest: Tensor | None = None
    _columns: dict[str, Tensor] = field(default_factory=dict)

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
            self._remember_parameters(self.producer)
        if read is not None and _shift.is_linear(self.producer):
            self._see_input(self.producer, read, first=first)

    def _remember_parameters(self, producer: nn.Module) -> None:
        """Copy what the optimizer is about to change in place."""
        bias = _shift.bias_of(producer)
        self._bias = None if bias is None else bias.detach().float().clone()
        self._weights = _strided(producer)

    def _see_input(self, producer: nn.Module, read: Tensor, *, first: bool) -> None:
        total, count = _shift.input_sum(producer, read)
        if first:
            self._input = (total, count)
            if self.look is not None and self.look.mean_input.shape == total.shape:
                self._response = _shift.respond(producer, self.look.mean_input)
        elif self._input is not None and self._input[0].shape == total.shape:
            self._input = (self._input[0] + total, self._input[1] + count)
        else:  # images of differing size have no mean image
            self._input = None

    def snapshot(self, step: int, learning_rate: float | None) -> Snapshot | None:
        """What was summed since the step was armed, after the optimizer has made its update. None where nothing was."""
        if self.sums is None:
            return None
        sums, self._columns = self.sums, {}
        mean = sums.total / max(sums.positions, 1)
        var = (sums.square / max(sums.positions, 1) - mean.square()).clamp_(min=0)
        self._columns |= {"active": sums.active, "mean": mean, "var": var, "max": sums.top}
        if self.has_positions:
            self._columns["active_positions"] = sums.active_positions
        self._count_silence(sums)
        since = self._account(step, mean)
        names, values = _norms(self.producer, self._weights)
        matrix = torch.stack(list(self._columns.values()))
        scalars = torch.stack(values) if values else None
        taken = Snapshot(
            self.layer_id,
            step,
            since,
            sums.examples,
            sums.positions,
            tuple(self._columns),
            matrix,
            names,
            scalars,
            learning_rate,
        )
        self.forget_step()
        return taken

    def _count_silence(self, sums: _reduce.Sums) -> None:
        """Examples since last active, counted over all looks: a merged count alone hides a silence at its end."""
        if self._silent is None or self._longest is None or self._silent.shape != sums.active.shape:
            self._silent = torch.zeros_like(sums.active)
            self._longest = torch.zeros_like(sums.active)
        fired = sums.active > 0
        ended = torch.where(fired, self._silent, 0.0)
        self._silent = torch.where(fired, 0.0, self._silent + sums.examples)
        self._columns |= {"silent": self._silent, "longest_silence": ended}

    def _account(self, step: int, mean: Tensor) -> int | None:
        """Add bias, shifts and the update's shift to the columns; returns the step since which shifts count."""
        if self.producer is None or self._weights is None:
            return None
        since = None
        if self._bias is not None:
            self._columns["bias"] = self._bias
        if not _shift.is_linear(self.producer):
            new_bias = _shift.bias_of(self.producer)
            if new_bias is not None and self._bias is not None:
                self._columns["update_shift"] = new_bias.detach().float() - self._bias
            return None
        if self.look is not None and self._response is not None:
            weight, read, bias = _shift.split(self.look, self._response, mean, self._bias)
            self._columns |= {"shift_weight": weight, "shift_input": read, "shift_bias": bias}
            since = self.look.step
        self._look_again(self.producer, step, mean)
        return since

    def _look_again(self, producer: nn.Module, step: int, mean: Tensor) -> None:
        if self._input is None:
            self.look = None
            return
        mean_input = self._input[0] / self._input[1]
        after = _shift.respond(producer, mean_input)
        new_bias = _shift.bias_of(producer)
        self._columns["update_shift"] = after - mean if new_bias is None else after + new_bias.detach().float() - mean
        self.look = _shift.Look(step, mean_input, mean, self._bias)

    def forget_step(self) -> None:
        """Drop what belongs to one sampled step."""
        self.sums = self._input = self._response = self._bias = self._weights = None


def _strided(producer: nn.Module) -> Tensor | None:
    weight = getattr(producer, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    flat = weight.detach().reshape(-1)
    return flat[:: math.ceil(flat.numel() / STRIDED)].float().clone()


def _norms(producer: nn.Module | None, before: Tensor | None) -> tuple[tuple[str, ...], list[Tensor]]:
    """Norms of weight, update and gradient, from the strided part and scaled to the whole."""
    if producer is None or before is None:
        return (), []
    weight = getattr(producer, "weight", None)
    if not isinstance(weight, Tensor):
        return (), []
    stride = math.ceil(weight.numel() / STRIDED)
    scale = math.sqrt(weight.numel() / before.numel())
    now = weight.detach().reshape(-1)[::stride].float()
    names, values = ["weight_norm", "update_norm"], [now.norm() * scale, (now - before).norm() * scale]
    if isinstance(weight.grad, Tensor) and not weight.grad.is_sparse:
        names.append("grad_norm")
        values.append(weight.grad.detach().reshape(-1)[::stride].float().norm() * scale)
    return tuple(names), values
