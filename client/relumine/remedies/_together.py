"""Doing the same in every process of a DistributedDataParallel model: its processes hold one and the same model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Together:
    """The processes of a model; without DistributedDataParallel this one alone, and nothing is exchanged."""

    def __init__(self, model: nn.Module) -> None:
        self._group: Any = None
        self._device = torch.device("cpu")
        wrapper = getattr(model, "_orig_mod", model)
        if isinstance(wrapper, DistributedDataParallel):
            self._group = wrapper.process_group
            self._device = next(wrapper.parameters()).device

    def total(self, counts: Tensor) -> Tensor:
        """The sum over all processes."""
        if self._group is None:
            return counts
        summed = counts.to(self._device)
        dist.all_reduce(summed, group=self._group)
        return summed.to(counts.device)

    def follow_first(self, tensors: Iterable[Tensor]) -> None:
        """Take over what the first process holds in each of them, in place."""
        if self._group is None:
            return
        first = dist.get_global_rank(self._group, 0)
        for tensor in tensors:
            held = tensor.detach().to(self._device)
            dist.broadcast(held, first, group=self._group)
            with torch.no_grad():
                tensor.copy_(held)


def are_several() -> bool:
    """Whether more than this one process trains."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
