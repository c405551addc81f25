"""Copies from an accelerator to the host, for which the training thread never waits.

The tensors of a sampled step are copied into pinned memory, in stream order behind the training's own work, and an
event marks when the copies are complete. The sender's thread waits for that event.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from relumine._capture.step_stats import StepStats, SumBuffer


def to_host(stats: StepStats) -> StepStats:
    """Return the same statistics on the host; wait for ``copy_events`` before reading them. CPU tensors stay."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return stats
    devices: set[torch.device] = set()
    copied: StepStats = _copy_async(stats, devices)
    if not devices:
        return stats
    return dataclasses.replace(copied, copy_events=tuple(_record_event(device) for device in devices))


def _copy_async(value: Any, devices: set[torch.device]) -> Any:
    """Return ``value`` with each CUDA tensor in it replaced by a copy in flight; add the devices to ``devices``."""
    if isinstance(value, Tensor):
        if value.device.type != "cuda":
            return value
        devices.add(value.device)
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return host.copy_(value, non_blocking=True)
    if isinstance(value, SumBuffer):
        # The buffer goes back to its layer, which fills it again on the device: only its matrix is read.
        return value
    if isinstance(value, tuple):
        items = [_copy_async(item, devices) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _copy_async(getattr(value, f.name), devices) for f in dataclasses.fields(value)}
        return type(value)(**fields)
    return value


def _record_event(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
