"""The arguments of ``Monitor.tap``: a pre-activation, its threshold and its mask, brought into the form of a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relumine._runtime.sendable import UnusableValue
from relumine._torch.tensors import is_readable_later


def checked_preactivation(z: object) -> Tensor:
    """Return a pre-activation of one dimension or more, as real numbers.

    Raises:
        UnusableValue: it is none.
    """
    if not isinstance(z, Tensor):
        raise UnusableValue(f"z is a {type(z).__name__}, not a tensor")
    if not is_readable_later(z):
        raise UnusableValue("z is sparse, nested, quantized, spread over processes, or inside of torch.func")
    if not z.dim():
        raise UnusableValue("z is a single number: its last dimension should hold the units")
    if z.is_complex():
        raise UnusableValue("z is complex")
    return z if z.is_floating_point() else z.detach().float()


def checked_mask(mask: Any, z: Tensor) -> Tensor | None:
    """Return a mask as booleans of the shape of ``z`` without its last dimension.

    Raises:
        UnusableValue: it has another shape, or is on another device.
    """
    if mask is None:
        return None
    selected = _as_tensor(mask, z, "mask", dtype=None)
    if selected.shape == (*z.shape[:-1], 1):
        selected = selected.squeeze(-1)
    if selected.shape != z.shape[:-1]:
        shapes = f"{tuple(selected.shape)} for z of shape {tuple(z.shape)}"
        raise UnusableValue(f"the mask has the shape {shapes}, not that of z without its last dimension")
    return selected if selected.dtype == torch.bool else selected.ne(0)


def minus_threshold(z: Tensor, threshold: Any, dim: int) -> Tensor:
    """Return ``z - threshold``; ``z`` itself where the threshold is the number 0.

    Args:
        z: the pre-activation.
        threshold: a number, or numbers per unit, or any shape that broadcasts to that of ``z``.
        dim: the dimension of ``z`` that holds the units.

    Raises:
        UnusableValue: the threshold is not finite, has another shape, or is on another device.
    """
    if threshold is None:
        return z
    if not isinstance(threshold, Tensor) and not hasattr(threshold, "__len__"):
        return _minus_number(z, threshold)
    values = _as_tensor(threshold, z, "threshold", dtype=z.dtype).detach()
    if values.numel() == 1:
        return z.detach() - values.reshape(())
    if values.dim() == 1 and values.shape[0] == z.shape[dim]:
        shape = [1] * z.dim()
        shape[dim] = -1
        return z.detach() - values.reshape(shape)
    if not _broadcasts(values, z):
        shapes = f"{tuple(values.shape)} for z of shape {tuple(z.shape)}"
        raise UnusableValue(f"the threshold has the shape {shapes}: it is a number, or one per unit")
    return z.detach() - values


def _minus_number(z: Tensor, threshold: Any) -> Tensor:
    try:
        number = float(threshold)
    except Exception as error:
        raise UnusableValue(f"the threshold is a {type(threshold).__name__}, neither a number nor a tensor") from error
    if not abs(number) < float("inf"):
        raise UnusableValue(f"the threshold is {number}")
    return z.detach() - number if number else z


def _as_tensor(values: Any, z: Tensor, role: str, *, dtype: torch.dtype | None) -> Tensor:
    """Return values as a tensor on the device of ``z``; only from the host are they moved, which waits for nothing."""
    if not isinstance(values, Tensor):
        try:
            return torch.tensor(values, dtype=dtype, device=z.device)
        except Exception as error:
            raise UnusableValue(f"the {role} is a {type(values).__name__}, not a tensor") from error
    if not is_readable_later(values) or values.is_complex():
        raise UnusableValue(f"the {role} is not a plain tensor of real numbers")
    if values.device == z.device or not values.dim():
        return values
    if values.device.type != "cpu":
        raise UnusableValue(f"the {role} is on {values.device}, z on {z.device}")
    return values.to(z.device, non_blocking=True)


def _broadcasts(values: Tensor, z: Tensor) -> bool:
    lengths = zip(reversed(values.shape), reversed(z.shape), strict=False)
    return values.dim() <= z.dim() and all(length in (1, other) for length, other in lengths)
