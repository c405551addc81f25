"""Per-unit sums of a pre-activation, on its own device. Nothing here waits for it: no ``.item()``, no ``.cpu()``.

What is cheap was measured (``benchmarks/overhead``): reductions along a dimension that is contiguous, or over the first
one; a comparison written into floats (four times cheaper than one written into booleans).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 2**19  # elements looked at in one go: bounds the scratch space to 2 MiB
WIDE = 32  # positions from which reducing along them is cheaper than over the examples


class Sums(NamedTuple):
    """Sums over the examples and positions of one layer; tensors of shape (units,), float32, rows of one matrix.

    ``active`` counts examples in which the unit is active anywhere, ``active_positions`` positions where an example
    has several; else it holds any number.
    """

    active: Tensor
    total: Tensor
    square: Tensor
    top: Tensor
    active_positions: Tensor

    def add(self, other: Sums) -> None:
        """Take in the sums of another micro-batch of the same optimizer step."""
        self.active.add_(other.active)
        self.total.add_(other.total)
        self.square.add_(other.square)
        torch.maximum(self.top, other.top, out=self.top)
        self.active_positions.add_(other.active_positions)


ROWS = len(Sums._fields)


def new_sums(units: int, like: Tensor) -> Sums:
    """Room for sums, on the device of ``like``."""
    return Sums(*torch.zeros((ROWS, units), dtype=torch.float32, device=like.device).unbind())


def unit_dim(z: Tensor, *, channels_first: bool) -> int:
    """Which dimension of ``z`` holds the units: channels after a convolution, else the last."""
    if z.dim() <= 1:
        return 0
    return 1 if channels_first else z.dim() - 1


def arranged(z: Tensor, dim: int) -> tuple[Tensor, bool]:
    """``z`` as (examples, units, positions) or (examples, positions, units), and whether the units come last.

    A view wherever the memory allows it. ``dim`` holds the units, the first other dimension the examples.
    """
    z = z.detach()
    if z.dim() == 1:
        return z.reshape(1, 1, -1), True
    if dim == z.dim() - 1:
        return z.reshape(z.shape[0], -1, z.shape[-1]), True
    last = z.movedim(dim, -1)
    if last.is_contiguous():  # channels_last: the units are side by side in memory
        return last.reshape(z.shape[0], -1, z.shape[dim]), True
    return z.reshape(z.shape[0], z.shape[1], -1), False


def reduce(z: Tensor, dim: int, into: Sums) -> None:
    """Write the sums of a pre-activation whose units lie along ``dim`` into ``into``.

    Sums are taken in float32 whatever the dtype of ``z``: a bfloat16 sum over 512 rows is off by 0.3.
    """
    if z.dim() == 2 and z.dtype == torch.float32 and z.numel() <= BLOCK:
        _reduce_matrix(z, into)
        return
    whole, units_last = arranged(z, dim)
    examples = whole.shape[0]
    at_once = max(1, BLOCK * examples // max(1, whole.numel()))
    if examples <= at_once:
        _reduce_block(whole, into, units_last=units_last)
        return
    part = new_sums(into.total.numel(), z)
    for start in range(0, examples, at_once):
        _reduce_block(whole[start : start + at_once], part if start else into, units_last=units_last)
        if start:
            into.add(part)


def reduce_masked(z: Tensor, mask: Tensor, into: Sums) -> Tensor:
    """The same for ``z`` (…, units) where ``mask`` (…) holds; returns how many rows counted, still on the device.

    Rows count, not examples: padding differs from one example to the next.
    """
    kept = mask.reshape(-1, 1)
    rows = z.detach().reshape(-1, z.shape[-1]).float()
    clean = torch.where(kept, rows, torch.zeros((), device=z.device))
    _reduce_block(clean.unsqueeze(1), into, units_last=True)
    torch.amax(torch.where(kept, rows, torch.full((), -torch.inf, device=z.device)), 0, out=into.top)
    return kept.sum(dtype=torch.float32)


def _reduce_block(block: Tensor, into: Sums, *, units_last: bool) -> None:
    block = block.float()
    if units_last:
        _reduce_rows(block, into)
    elif block.shape[2] >= WIDE:
        _reduce_along(block, into)
    else:
        _reduce_across(block, into)


def _reduce_matrix(z: Tensor, into: Sums) -> None:
    """(examples, units): the short way, since on small layers the number of calls is what costs."""
    scratch = torch.mul(z, z, out=_scratch(z))
    torch.sum(scratch, 0, out=into.square)
    torch.sum(z, 0, out=into.total)
    torch.sum(torch.gt(z, 0, out=scratch), 0, out=into.active)
    torch.amax(z, 0, out=into.top)


def _reduce_rows(block: Tensor, into: Sums) -> None:
    """(examples, positions, units): over all rows, whose numbers lie side by side."""
    _reduce_matrix(block.reshape(-1, block.shape[-1]), into)
    if block.shape[1] > 1:
        into.active_positions.copy_(into.active)
        _by_example(block.amax(1), into)


def _reduce_along(block: Tensor, into: Sums) -> None:
    """(examples, units, many positions): along the positions first."""
    torch.sum(block.sum(2), 0, out=into.total)
    torch.sum(torch.linalg.vector_norm(block, dim=2).square_(), 0, out=into.square)
    torch.sum(torch.gt(block, 0, out=_scratch(block)).sum(2), 0, out=into.active_positions)
    _by_example(block.amax(2), into)


def _reduce_across(block: Tensor, into: Sums) -> None:
    """(examples, units, few positions): over the examples first; rows this short are dear to walk along."""
    scratch = torch.mul(block, block, out=_scratch(block))
    torch.sum(scratch.sum(0), 1, out=into.square)
    torch.sum(block.sum(0), 1, out=into.total)
    torch.sum(torch.gt(block, 0, out=scratch).sum(0), 1, out=into.active_positions)
    _by_example(block.amax(2), into)


def _scratch(like: Tensor) -> Tensor:
    """Room of the shape of ``like``, to be overwritten by the next call: fresh memory costs more than the sums."""
    if like.numel() > BLOCK:
        return torch.empty_like(like)
    return _room(like.device)[: like.numel()].view(like.shape)


@functools.lru_cache(maxsize=16)
def _room(device: torch.device) -> Tensor:
    return torch.empty(BLOCK, dtype=torch.float32, device=device)


def _by_example(peak: Tensor, into: Sums) -> None:
    """From the greatest value of each example, shape (examples, units): an example counts once."""
    torch.amax(peak, 0, out=into.top)
    torch.sum(torch.gt(peak, 0, out=peak), 0, out=into.active)
