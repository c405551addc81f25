"""The terms of the exact split of a change of the mean pre-activation into weights, input and bias.

z̄ = W·x̄ + b holds exactly for means over a batch (for a convolution, with the mean patch as x̄). Between two sampled
steps 0 → 1:  z̄₁ - z̄₀ = [W₁·x̄₀ + b₀ - z̄₀] + [z̄₁ - b₁ - W₁·x̄₀] + [b₁ - b₀]  =  weight + input + bias.
This needs the earlier mean input only, no copy of the weights: two matrix-vector products per sampled step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from relumine._torch.modules import Convolution, as_convolution, conv_padding, is_convolution


def input_sum(module: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the inputs of all outputs of a linear module, in float32, and the number of outputs.

    For a convolution the sum of all patches, shape (channels · kernel,): by linearity it follows from the sum of the
    images, one axis after the other. For any other module, which calls ``linear``, the sum over all rows, shape
    (features,).
    """
    if not is_convolution(module):
        rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        return rows.sum(0, dtype=torch.float32), rows.shape[0]
    conv = as_convolution(module)
    batch = x.reshape(-1, *x.shape[-len(conv.kernel_size) - 1 :])
    patches = _pad(conv, batch.sum(0, dtype=torch.float32))
    output_count = batch.shape[0]
    for size, stride, dilation in zip(conv.kernel_size, conv.stride, conv.dilation, strict=True):
        # Replace the leading spatial axis by a trailing kernel axis: entry k is the sum over the output positions of
        # what the k-th kernel element reads. One view holds what all of them read.
        channels, length, *others = patches.shape
        channel_step, step, *other_steps = patches.stride()
        outputs = (length - dilation * (size - 1) - 1) // stride + 1
        windows = patches.as_strided(
            (channels, outputs, *others, size), (channel_step, step * stride, *other_steps, step * dilation)
        )
        patches = windows.sum(1)
        output_count *= outputs
    return patches.reshape(-1), output_count


def mean_response(module: nn.Module, weight: Tensor, mean_input: Tensor, out: Tensor) -> None:
    """Write W·x̄ per unit into ``out`` (shape (units,), float32): without the bias.

    ``weight`` is what the module uses now; ``mean_input`` is a mean of ``input_sum``.
    """
    if weight.dim() == 2 and weight.dtype == torch.float32:
        torch.mv(weight, mean_input, out=out)
        return
    groups = as_convolution(module).groups if is_convolution(module) else 1
    rows = weight.detach().reshape(groups, weight.shape[0] // groups, -1).float()
    if groups == 1:
        torch.mv(rows[0], mean_input, out=out)
    else:
        torch.bmm(rows, mean_input.reshape(groups, -1, 1), out=out.reshape(groups, -1, 1))


def _pad(conv: Convolution, image: Tensor) -> Tensor:
    """Return the image (channels, …) padded as the module pads it."""
    padding = conv_padding(conv)
    if not any(padding):
        return image
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    return functional.pad(image.unsqueeze(0), padding, mode=mode)[0]
