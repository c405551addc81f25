"""The way from an accelerator to the sender's thread: copies that nobody waits for.

A sample's tensors are copied into pinned memory behind the training's own work, and an event marks when they have
arrived. The sender's thread waits for that event; the training thread never does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from relumine._sample import Sample


def leave(sample: Sample) -> Sample:
    """The same sample on the host; ``arrived`` must be waited for before it is read. One of a CPU stays as it is."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return sample
    devices: set[torch.device] = set()
    moved: Sample = _moved(sample, devices)
    if not devices:
        return sample
    return dataclasses.replace(moved, arrived=tuple(_event(device) for device in devices))


def _moved(value: Any, devices: set[torch.device]) -> Any:
    """``value`` with every CUDA tensor in it replaced by a copy under way."""
    if isinstance(value, Tensor):
        if value.device.type != "cuda":
            return value
        devices.add(value.device)
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return host.copy_(value, non_blocking=True)
    if isinstance(value, tuple):
        parts = [_moved(part, devices) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _moved(getattr(value, f.name), devices) for f in dataclasses.fields(value)}
        return type(value)(**changed)
    return value


def _event(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
