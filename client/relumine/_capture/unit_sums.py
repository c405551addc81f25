"""Per-unit sums of a pre-activation, on its own device. Nothing here waits for it: no ``.item()``, no ``.cpu()``.

Which operations are cheap was measured (``benchmarks/overhead``): reductions along a contiguous dimension or over the
first one, and a comparison written into floats (four times cheaper than one written into booleans).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

# Elements reduced at a time: bounds the scratch space to 2 MiB.
BLOCK_ELEMENTS = 2**19

# Number of positions from which reducing along them first is cheaper than reducing over the examples first.
MANY_POSITIONS = 32


class UnitSums(NamedTuple):
    """Sums over the examples and positions of one layer; tensors of shape (units,), float32, rows of one matrix.

    ``active`` counts the examples in which the unit is active at any position. ``active_positions`` counts active
    positions; of a layer without positions its values are undefined.
    """

    active: Tensor
    sum: Tensor
    sum_squares: Tensor
    max: Tensor
    active_positions: Tensor

    def add(self, other: UnitSums) -> None:
        """Add the sums of another micro-batch of the same optimizer step, in place."""
        self.active.add_(other.active)
        self.sum.add_(other.sum)
        self.sum_squares.add_(other.sum_squares)
        torch.maximum(self.max, other.max, out=self.max)
        self.active_positions.add_(other.active_positions)


def new_sums(units: int, like: Tensor) -> UnitSums:
    """Allocate sums for ``units`` units on the device of ``like``."""
    matrix = torch.zeros((len(UnitSums._fields), units), dtype=torch.float32, device=like.device)
    return UnitSums(*matrix.unbind())


def unit_dim(z: Tensor, *, channels_first: bool) -> int:
    """Return the dimension of ``z`` that holds the units: 1 if channels come first, else the last."""
    if z.dim() <= 1:
        return 0
    return 1 if channels_first else z.dim() - 1


def to_3d(z: Tensor, dim: int) -> tuple[Tensor, bool]:
    """Return ``z`` as (examples, units, positions) or (examples, positions, units), and True for the latter.

    The result is a view where the memory layout allows it. ``dim`` holds the units, the first other dimension the
    examples.
    """
    z = z.detach()
    if z.dim() == 1:
        return z.reshape(1, 1, -1), True
    if dim == z.dim() - 1:
        return z.reshape(z.shape[0], -1, z.shape[-1]), True
    units_last = z.movedim(dim, -1)
    if units_last.is_contiguous():  # memory format channels_last: the units of a position are adjacent
        return units_last.reshape(z.shape[0], -1, z.shape[dim]), True
    return z.reshape(z.shape[0], z.shape[1], -1), False


def accumulate(z: Tensor, dim: int, out: UnitSums, *, with_positions: bool = True) -> None:
    """Write the sums of a pre-activation whose units lie along ``dim`` into ``out``.

    Sums are taken in float32 whatever the dtype of ``z``: a bfloat16 sum over 512 rows is off by 0.3.
    ``with_positions``: of a matrix, which has one position per example, write the active positions, too.
    """
    if z.dim() == 2 and z.dtype == torch.float32 and z.numel() <= BLOCK_ELEMENTS:
        _reduce_matrix(z, out)
        if with_positions:
            out.active_positions.copy_(out.active)
        return
    blocks, units_last = to_3d(z, dim)
    examples = blocks.shape[0]
    block_size = max(1, BLOCK_ELEMENTS * examples // max(1, blocks.numel()))
    if examples <= block_size:
        _reduce_block(blocks, out, units_last=units_last)
        return
    _reduce_block(blocks[:block_size], out, units_last=units_last)
    block_sums = new_sums(out.sum.numel(), z)
    for start in range(block_size, examples, block_size):
        _reduce_block(blocks[start : start + block_size], block_sums, units_last=units_last)
        out.add(block_sums)


def example_maxima(z: Tensor, dim: int) -> Tensor:
    """Return the maximum of each unit over the positions of each example, a new tensor (examples, units), float32."""
    blocks, units_last = to_3d(z, dim)
    return blocks.amax(1 if units_last else 2).float()


def accumulate_masked(z: Tensor, mask: Tensor, out: UnitSums) -> Tensor:
    """Write the sums over the rows of ``z`` (…, units) where ``mask`` (…) is True into ``out``.

    Rows are counted, not examples, since the amount of padding differs between examples. Returns the number of rows
    under the mask as a tensor on the device of ``z``.
    """
    selected = mask.reshape(-1, 1)
    rows = z.detach().reshape(-1, z.shape[-1]).float()
    zeroed = torch.where(selected, rows, torch.zeros((), device=z.device))
    _reduce_block(zeroed.unsqueeze(1), out, units_last=True)
    torch.amax(torch.where(selected, rows, torch.full((), -torch.inf, device=z.device)), 0, out=out.max)
    return selected.sum(dtype=torch.float32)


def _reduce_block(block: Tensor, out: UnitSums, *, units_last: bool) -> None:
    block = block.float()
    if units_last:
        _reduce_units_last(block, out)
    elif block.shape[2] >= MANY_POSITIONS:
        _reduce_positions_first(block, out)
    else:
        _reduce_examples_first(block, out)


def _reduce_matrix(z: Tensor, out: UnitSums) -> None:
    """Reduce (examples, units) in as few calls as possible: on small layers their number decides the cost."""
    scratch = torch.mul(z, z, out=_scratch(z))
    torch.sum(scratch, 0, out=out.sum_squares)
    torch.sum(z, 0, out=out.sum)
    torch.sum(torch.gt(z, 0, out=scratch), 0, out=out.active)
    torch.amax(z, 0, out=out.max)


def _reduce_units_last(block: Tensor, out: UnitSums) -> None:
    """Reduce (examples, positions, units) over all rows, each of which is contiguous."""
    _reduce_matrix(block.reshape(-1, block.shape[-1]), out)
    out.active_positions.copy_(out.active)
    if block.shape[1] > 1:
        _count_examples(block.amax(1), out)


def _reduce_positions_first(block: Tensor, out: UnitSums) -> None:
    """Reduce (examples, units, many positions) along the positions first."""
    torch.sum(block.sum(2), 0, out=out.sum)
    torch.sum(torch.linalg.vector_norm(block, dim=2).square_(), 0, out=out.sum_squares)
    torch.sum(torch.gt(block, 0, out=_scratch(block)).sum(2), 0, out=out.active_positions)
    _count_examples(block.amax(2), out)


def _reduce_examples_first(block: Tensor, out: UnitSums) -> None:
    """Reduce (examples, units, few positions) over the examples first: rows this short are slow to reduce along."""
    scratch = torch.mul(block, block, out=_scratch(block))
    torch.sum(scratch.sum(0), 1, out=out.sum_squares)
    torch.sum(block.sum(0), 1, out=out.sum)
    torch.sum(torch.gt(block, 0, out=scratch).sum(0), 1, out=out.active_positions)
    _count_examples(block.amax(2), out)


def _count_examples(maxima: Tensor, out: UnitSums) -> None:
    """Reduce the maximum of each example, shape (examples, units): an example counts once. Overwrites ``maxima``."""
    torch.amax(maxima, 0, out=out.max)
    torch.sum(torch.gt(maxima, 0, out=maxima), 0, out=out.active)


def _scratch(like: Tensor) -> Tensor:
    """Return memory of the shape of ``like``, reused by the next call: allocating it costs more than the sums."""
    if like.numel() > BLOCK_ELEMENTS:
        return torch.empty_like(like)
    return _scratch_view(like.device, like.shape)


@functools.lru_cache(maxsize=64)
def _scratch_view(device: torch.device, shape: torch.Size) -> Tensor:
    """Return a view of the scratch memory: creating one would cost as much as a sum over a small layer."""
    return _scratch_memory(device)[: shape.numel()].view(shape)


@functools.lru_cache(maxsize=16)
def _scratch_memory(device: torch.device) -> Tensor:
    return torch.empty(BLOCK_ELEMENTS, dtype=torch.float32, device=device)
