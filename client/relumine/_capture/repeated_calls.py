"""Several calls of one layer in one forward: time steps of a recurrent cell, levels of a shared head.

Each call adds positions, not examples: an example counts as active if the unit is active in any of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relumine._capture import unit_sums
from relumine._capture.unit_sums import UnitSums

# Elements of small calls that are copied and reduced together: a reduction costs more than what it reads.
PENDING_ELEMENTS = 2**17


class RepeatedCalls:
    """Adds the calls of one forward to the sums of its step.

    ``out`` receives sums, squares, maxima and active positions at the latest in ``finish``, and the active examples
    only there.
    """

    def __init__(self, out: UnitSums, rows: int, *, is_first: bool) -> None:
        self.rows = rows
        self._out = out
        self._is_empty = is_first
        self._pending: list[Tensor] = []
        self._maxima: Tensor | None = None
        if is_first:
            out.active.zero_()

    def add(self, z: Tensor, dim: int) -> None:
        """Add a call. ``z`` has the units along ``dim`` and may be overwritten once this returns."""
        if self._maxima is not None and z.dim() == 2 and z.numel() * 8 <= PENDING_ELEMENTS:
            if self._pending and (self._pending[0].shape != z.shape or self._is_full(z)):
                self._reduce_pending()
            self._pending.append(z.detach().clone())
            return
        self._reduce_pending()
        self._reduce(z, dim)

    def finish(self) -> None:
        """Add what is pending, and the examples in which each unit was active."""
        self._reduce_pending()
        if self._maxima is not None:
            self._out.active.add_((self._maxima > 0).sum(0))
            self._maxima = None

    def _is_full(self, z: Tensor) -> bool:
        return (len(self._pending) + 1) * z.numel() > PENDING_ELEMENTS

    def _reduce_pending(self) -> None:
        if not self._pending:
            return
        calls = torch.stack(self._pending, dim=1)
        self._pending.clear()
        self._reduce(calls, 2)

    def _reduce(self, z: Tensor, dim: int) -> None:
        sums = self._out if self._is_empty else unit_sums.new_sums(self._out.sum.numel(), z)
        unit_sums.accumulate(z, dim, out=sums)
        sums.active.zero_()
        if not self._is_empty:
            self._out.add(sums)
        self._is_empty = False
        self._add_maxima(unit_sums.example_maxima(z, dim))

    def _add_maxima(self, maxima: Tensor) -> None:
        if self._maxima is None:
            self._maxima = maxima
            return
        part = self._maxima[: maxima.shape[0]]  # a packed batch loses its shortest sequences from the end
        torch.maximum(part, maxima, out=part)
