"""The exact split of a change of the mean pre-activation into weights, input and bias.

z̄ = W·x̄ + b holds exactly for means over a batch (for a convolution, with the mean patch as x̄). Between two looks
0 → 1:  z̄₁ - z̄₀ = [W₁·x̄₀ + b₀ - z̄₀] + [z̄₁ - b₁ - W₁·x̄₀] + [b₁ - b₀]  =  weight + input + bias.
It needs the earlier mean input only, no copy of the weights: two products of matrix and vector per look.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relumine.table import Array

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d


def is_linear(module: nn.Module) -> bool:
    """Whether the split is exact for what this module computes."""
    return isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))


def bias_of(module: nn.Module) -> Tensor | None:
    """The bias, or the β of a BatchNorm; None where there is none."""
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else None


def is_plain(tensor: object) -> bool:
    """Whether a parameter can be read here and now: FSDP and its like keep parts of it elsewhere, or nothing at all."""
    return (
        isinstance(tensor, Tensor)
        and type(tensor) in (Tensor, nn.Parameter)
        and not tensor.is_sparse
        and tensor.untyped_storage().size() > 0
    )


def input_sum(module: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Sum of what a linear module read for each of its outputs, in float32, and how many outputs those are.

    For a Linear shape (features,) over all rows; for a convolution the sum of all patches, shape (channels · kernel,):
    by linearity it can be taken from the sum of the images, one axis after the other.
    """
    if isinstance(module, nn.Linear):
        flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        return flat.sum(0, dtype=torch.float32), flat.shape[0]
    conv = _convolution(module)
    batched = x if x.dim() == conv.weight.dim() else x.unsqueeze(0)
    patches = _padded(conv, batched.sum(0, dtype=torch.float32))
    places = batched.shape[0]
    for size, stride, dilation in zip(conv.kernel_size, conv.stride, conv.dilation, strict=True):
        outputs = (patches.shape[1] - dilation * (size - 1) - 1) // stride + 1
        span = (outputs - 1) * stride + 1
        taps = [patches[:, at : at + span : stride].sum(1) for at in range(0, size * dilation, dilation)]
        patches = torch.stack(taps, dim=-1)
        places *= outputs
    return patches.reshape(-1), places


def _padded(conv: Convolution, image: Tensor) -> Tensor:
    """The image (channels, …) as the module pads it."""
    both = conv._reversed_padding_repeated_twice  # noqa: SLF001 - resolves padding="same" as well
    if not any(both):
        return image
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    return functional.pad(image.unsqueeze(0), both, mode=mode)[0]


def respond(module: nn.Module, mean_input: Tensor, out: Tensor) -> None:
    """Write W·x̄ per unit into ``out`` (shape (units,), float32): without the bias, at the module's present weights.

    ``mean_input`` is a mean of ``input_sum``.
    """
    weight = _weight_of(module)
    if isinstance(module, nn.Linear) and weight.dtype == torch.float32:
        torch.mv(weight, mean_input, out=out)
        return
    groups = 1 if isinstance(module, nn.Linear) else _convolution(module).groups
    rows = weight.detach().reshape(groups, weight.shape[0] // groups, -1).float()
    if groups == 1:
        torch.mv(rows[0], mean_input, out=out)
    else:
        torch.bmm(rows, mean_input.reshape(groups, -1, 1), out=out.reshape(groups, -1, 1))


def _weight_of(module: nn.Module) -> Tensor:
    weight = module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} has no weight")
    return weight


def _convolution(module: nn.Module) -> Convolution:
    """Narrow the type; callers asked ``is_linear``."""
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        raise TypeError(f"no split for {type(module).__name__}")
    return module


def split(
    before: tuple[Array, Array | None], response: Array, after: tuple[Array, Array | None]
) -> tuple[Array, Array, Array]:
    """The shares of weight, input and bias in the change of the mean; shapes (units,).

    ``before`` and ``after`` are mean and bias (None where there is none) of the two looks; ``response`` is W₁·x̄₀.
    """
    (mean0, bias0), (mean1, bias1) = before, after
    if bias0 is None or bias1 is None:
        return response - mean0, mean1 - response, np.zeros_like(mean1)
    return response + bias0 - mean0, mean1 - bias1 - response, bias1 - bias0
