"""One layer being watched: what is summed while a step is sampled, and what is remembered between samples.

Everything stays on the layer's device; a snapshot leaves it as one small matrix. Nothing here waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from relumine import _reduce, _shift
from relumine._origin import Split
from relumine._part import part_of

ROOMS = 2  # kept per layer: one being filled, one being read
STRIDED = 2048  # weights read per layer for its norms: the exact update norm costs 30 to 60 times more

ROWS = (*_reduce.Sums._fields, "bias", "new_bias", "response", "after")
BIAS, NEW_BIAS, RESPONSE, AFTER = range(_reduce.ROWS, len(ROWS))


class Strided(NamedTuple):
    """A regular part of a layer's weights before and after the update, and its gradient; ``whole`` is their number."""

    before: Tensor
    after: Tensor
    gradient: Tensor | None
    whole: int


class Moment(NamedTuple):
    """The step being sampled; ``thorough``: with what need not be looked at every step of a burst."""

    step: int
    thorough: bool


@dataclass(slots=True)
class Snapshot:
    """One layer at one sampled step as raw sums, ready to leave the device. ``matrix`` has shape (len(ROWS), units).

    Its rows are the sums, bias and new_bias (before and after the update), response (W₁·x̄₀ of the look at
    ``since_step``) and after (W·x̄ with the weights after the update); what is not given holds any number. Where the
    sample ``follows`` the last step, the last ``after`` is the response. ``counted`` replaces ``examples`` and
    ``positions`` where a mask decided on the device how many there are.
    """

    layer_id: int
    step: int
    since_step: int | None
    follows: bool
    examples: int
    positions: int
    has_positions: bool
    has_bias: bool
    has_after: bool
    matrix: Tensor
    weights: Strided | None = None
    learning_rate: float | None = None
    counted: Tensor | None = None
    room: _Room | None = None
    """Where ``matrix`` lives; given back once it was read."""


class _Room(NamedTuple):
    """A matrix of sums with its rows, used again and again: making one costs as much as filling it."""

    matrix: Tensor
    rows: tuple[Tensor, ...]
    sums: _reduce.Sums
    free: deque[_Room]

    def give_back(self) -> None:
        """Called by the sender's thread."""
        self.free.append(self)


@dataclass(slots=True)
class _Look:
    """What one sampled step saw so far."""

    room: _Room
    examples: int = 0
    positions: int = 0
    counted: Tensor | None = None
    input: tuple[Tensor, int] | None = None
    since: int | None = None
    follows: bool = False
    has_bias: bool = False
    weights: Tensor | None = None


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
    place: int = 0
    """The id of the module in whose forward it acts; 0 for what was tapped."""
    flattened: bool = False
    producer: nn.Module | None = None
    producer_name: str | None = None
    split: Split = "none"
    missing: list[str] = field(default_factory=list)
    looks: int = 0
    absent: int = 0
    """Sampled steps in a row in which its module ran and it was not seen."""
    sharded: bool = False
    _free: deque[_Room] = field(default_factory=lambda: deque(maxlen=ROOMS))
    _now: _Look | None = None
    _past: tuple[int, Tensor] | None = None
    """Step and mean input of the last look, for the response of the present weights to it."""

    @property
    def seen(self) -> bool:
        """Whether the step being sampled has seen it."""
        return self._now is not None

    def see(self, z: Tensor, read: Tensor | None, moment: Moment, *, matched: bool) -> None:
        """Take in one pre-activation. ``matched``: the producer made it, from ``read``."""
        dim = _reduce.unit_dim(z, channels_first=self.channels_first)
        look, first = self._look(z), self._now is None
        if first:
            _reduce.reduce(z, dim, look.room.sums)
        else:  # a micro-batch of the same optimizer step
            more = _reduce.new_sums(self.units, z)
            _reduce.reduce(z, dim, more)
            look.room.sums.add(more)
        look.examples += z.shape[0] if z.dim() > 1 else 1
        look.positions += z.numel() // max(self.units, 1)
        self._now = look
        if matched and self.producer is not None:
            self._see_producer(self.producer, look, read, moment, first=first)

    def see_masked(self, z: Tensor, mask: Tensor) -> None:
        """Take in a pre-activation of which only the rows under ``mask`` count; how many those are stays there."""
        look, first = self._look(z), self._now is None
        into = look.room.sums if first else _reduce.new_sums(self.units, z)
        counted = _reduce.reduce_masked(z, mask, into)
        if not first:
            look.room.sums.add(into)
        look.counted = counted if look.counted is None else look.counted + counted
        self._now = look

    def _look(self, z: Tensor) -> _Look:
        if self._now is not None:
            return self._now
        try:
            room = self._free.pop()
        except IndexError:
            room = self._new_room(z.device)
        return _Look(room if room.matrix.device == z.device else self._new_room(z.device))

    def _new_room(self, device: torch.device) -> _Room:
        matrix = torch.zeros((len(ROWS), self.units), dtype=torch.float32, device=device)
        rows = matrix.unbind()
        return _Room(matrix, rows, _reduce.Sums(*rows[: _reduce.ROWS]), self._free)

    def _see_producer(
        self, producer: nn.Module, look: _Look, read: Tensor | None, moment: Moment, *, first: bool
    ) -> None:
        if first:
            if not self.looks:
                self.sharded = not _shift.is_plain(getattr(producer, "weight", None))
            bias = _shift.bias_of(producer)
            if bias is not None and not self.sharded:
                look.room.rows[BIAS].copy_(bias)
                look.has_bias = True
            if moment.thorough and isinstance(weight := producer.weight, Tensor) and not self.sharded:
                look.weights = part_of(weight, STRIDED)
        if read is not None and _shift.is_linear(producer) and not self.sharded:
            self._see_input(producer, look, read, moment, first=first)

    def _see_input(self, producer: nn.Module, look: _Look, read: Tensor, moment: Moment, *, first: bool) -> None:
        total, count = _shift.input_sum(producer, read)
        if look.input is not None:
            total, count = look.input[0] + total, look.input[1] + count
        look.input = (total, count)
        if first and self._past is not None:
            look.since, mean_input = self._past
            look.follows = look.since == moment.step - 1  # then the weights are those that responded to it already
            if not look.follows:
                _shift.respond(producer, mean_input, look.room.rows[RESPONSE])

    def snapshot(self, step: int, learning_rate: float | None) -> Snapshot | None:
        """What was summed since the step was armed, after the optimizer's update. None where nothing was.

        What can be worked out later is left to the sender's thread.
        """
        look, self._now = self._now, None
        if look is None:
            return None
        self.looks += 1
        has_after = self._after(look, step)
        return Snapshot(
            self.layer_id,
            step,
            look.since,
            look.follows,
            look.examples,
            look.positions,
            self.has_positions,
            look.has_bias,
            has_after,
            look.room.matrix,
            None if self.sharded else _compare(self.producer, look.weights),
            learning_rate,
            look.counted,
            look.room,
        )

    def _after(self, look: _Look, step: int) -> bool:
        """The bias after the update and how the weights of now respond to the mean input; whether they do."""
        self._past = None
        if self.producer is not None and self.looks == 1:
            self.sharded = self.sharded or not _shift.is_plain(getattr(self.producer, "weight", None))
        if self.producer is None or self.sharded:
            look.has_bias = False
            return False
        new_bias = _shift.bias_of(self.producer)
        if look.has_bias and new_bias is not None:
            look.room.rows[NEW_BIAS].copy_(new_bias)
        if look.input is None:
            return False
        mean_input = look.input[0] / look.input[1]
        _shift.respond(self.producer, mean_input, look.room.rows[AFTER])
        self._past = (step, mean_input)
        return True


def _compare(producer: nn.Module | None, before: Tensor | None) -> Strided | None:
    weight = getattr(producer, "weight", None)
    if before is None or not isinstance(weight, Tensor):
        return None
    gradient = part_of(weight.grad, STRIDED) if weight.grad is not None and _shift.is_plain(weight.grad) else None
    return Strided(before, part_of(weight, STRIDED), gradient, weight.numel())
