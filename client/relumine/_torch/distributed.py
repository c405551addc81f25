"""The processes of a training, and collective operations over those of a DistributedDataParallel model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from relumine._runtime.launcher import Process, launched_process
from relumine._torch.modules import uncompiled


class DdpGroup:
    """The processes that train a model; without DistributedDataParallel only this one, and nothing is exchanged."""

    def __init__(self, model: nn.Module) -> None:
        self._group: Any = None
        self._device = torch.device("cpu")
        wrapper = uncompiled(model)
        if isinstance(wrapper, DistributedDataParallel):
            self._group = wrapper.process_group
            self._device = next(wrapper.parameters()).device

    def all_reduce_sum(self, counts: Tensor) -> Tensor:
        """Return the sum of the tensor over all processes, on its own device."""
        if self._group is None:
            return counts
        total = counts.to(self._device)
        dist.all_reduce(total, group=self._group)
        return total.to(counts.device)

    def broadcast_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's values into the tensors, in place."""
        if self._group is None:
            return
        first_rank = dist.get_global_rank(self._group, 0)
        for tensor in tensors:
            values = tensor.detach().to(self._device)
            dist.broadcast(values, first_rank, group=self._group)
            with torch.no_grad():
                tensor.copy_(values)


def this_process(environ: Mapping[str, str] = os.environ) -> Process:
    """Return this process among those of its training: as torch.distributed knows it, else as its launcher says."""
    if dist.is_available() and dist.is_initialized():
        return Process(dist.get_rank(), dist.get_world_size())
    return launched_process(environ)


def is_distributed() -> bool:
    """Return True if more than one process trains."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
