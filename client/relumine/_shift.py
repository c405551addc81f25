"""The exact split of a change of the mean pre-activation into weights, input and bias.

z̄ = W·x̄ + b holds exactly for means over a batch (for a convolution, with the mean image as x̄). Between two looks
0 → 1:  z̄₁ - z̄₀ = [W₁·x̄₀ + b₀ - z̄₀] + [z̄₁ - b₁ - W₁·x̄₀] + [b₁ - b₀]  =  weight + input + bias.
It needs the earlier mean input only, no copy of the weights: one more example's forward per look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relumine.wire import Array

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d


def is_linear(module: nn.Module) -> bool:
    """Whether the split is exact for what this module computes."""
    return isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))


def is_channels_first(module: nn.Module | None) -> bool:
    """Whether the module puts its units in dimension 1."""
    return module is not None and not isinstance(module, nn.Linear)


def bias_of(module: nn.Module) -> Tensor | None:
    """The bias, or the β of a BatchNorm; None where there is none."""
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else None


def input_sum(module: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Sum over examples of what a linear module read, in float32, and how many were summed.

    For a Linear over every position (shape (features,)), for a convolution the sum of images.
    """
    x = x.detach()
    if isinstance(module, nn.Linear):
        flat = x.reshape(-1, x.shape[-1])
        return flat.sum(0, dtype=torch.float32), flat.shape[0]
    batched = x if x.dim() == _convolution(module).weight.dim() else x.unsqueeze(0)
    return batched.sum(0, dtype=torch.float32), batched.shape[0]


def respond(module: nn.Module, mean_input: Tensor) -> Tensor:
    """W·x̄ per unit, without the bias, at the module's present weights (shape (units,), float32)."""
    if torch.is_autocast_enabled(mean_input.device.type):
        with torch.autocast(mean_input.device.type, enabled=False):
            return _respond(module, mean_input)
    return _respond(module, mean_input)  # the context alone would cost as much as the product


def _respond(module: nn.Module, mean_input: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return functional.linear(mean_input, module.weight.detach().float())
    module = _convolution(module)
    weight = module.weight.detach().float()
    forward: Callable[..., Tensor] = module._conv_forward  # noqa: SLF001 - pads as the module does, in every padding mode
    return forward(mean_input.unsqueeze(0), weight, None)[0].flatten(1).mean(1)


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
