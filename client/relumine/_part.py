"""A regular part of a tensor, as a copy on its own device."""

from __future__ import annotations

import torch
from torch import Tensor

RUN = 64  # numbers side by side: as many cache lines as numbers would cost many times the copy


def part_of(tensor: Tensor, size: int) -> Tensor:
    """About ``size`` numbers of a tensor in evenly spaced runs, shape (n,); all where it holds no more than that."""
    tensor = tensor.detach()
    whole = tensor.numel()
    if whole <= size:
        return tensor.clone().reshape(-1)
    runs = max(1, size // RUN)
    if not _is_dense(tensor):
        tensor = tensor.reshape(-1)
    return tensor.as_strided((runs, min(RUN, whole // runs)), (whole // runs, 1)).clone().reshape(-1)


def _is_dense(tensor: Tensor) -> bool:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.is_contiguous() or (
        tensor.dim() in layouts and tensor.is_contiguous(memory_format=layouts[tensor.dim()])
    )
