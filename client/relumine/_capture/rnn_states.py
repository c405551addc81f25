"""Pre-activations of ``nn.RNN`` and ``nn.RNNCell`` with ReLU, which torch computes in one call.

h_t = relu(z_t) with z_t = W_ih·x_t + b_ih + W_hh·h_(t-1) + b_hh. All states of the last layer are the call's output, so
one product per direction gives every z_t. The states of lower layers are computed again, without dropout between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

RNN_CALLS = frozenset({"rnn_relu", "rnn_relu_cell"})
DROPOUT = "not observed: the dropout between the layers of this RNN is known to torch alone"
PACKED_LAYERS = "not observed: an RNN of several layers over packed sequences"
SUM_WITH_STATE = "shares: a sum of the input and of an earlier state"


def rnn_preactivations(name: str, args: Sequence[Any], result: Any) -> list[Tensor] | str:
    """Return the pre-activations of each layer, (examples, steps, units), or the reason why they are not known.

    Of packed sequences (numbers, units), of a cell (examples, units). To be called without gradients.
    """
    if name == "rnn_relu_cell":
        x, state, w_ih, w_hh, *biases = args
        b_ih, b_hh = biases if len(biases) == 2 else (None, None)
        return [functional.linear(x, w_ih, b_ih) + functional.linear(state, w_hh, b_hh)]
    if isinstance(args[2], Tensor):  # (data, batch_sizes, hx, weights, …)
        return _packed(args, result[0])
    return _padded(args, result[0])


def _padded(args: Sequence[Any], output: Tensor) -> list[Tensor] | str:
    x, hx, weights, has_biases, layers, dropout, train, bidirectional, batch_first = args
    if layers > 1 and dropout and train:
        return DROPOUT
    if not batch_first:
        x = x.transpose(0, 1)
        output = output.transpose(0, 1)
    directions = 2 if bidirectional else 1
    per_layer = len(weights) // layers
    preactivations = []
    for layer in range(layers):
        own = weights[layer * per_layer : (layer + 1) * per_layer]
        state = hx[layer * directions : (layer + 1) * directions]
        states = output
        if layer < layers - 1:
            states = torch.rnn_relu(x, state, own, has_biases, 1, 0.0, False, bidirectional, True)[0]  # noqa: FBT003 - as torch
        preactivations.append(_of_layer(x, _earlier(states, state), own, directions))
        x = states
    return preactivations


def _earlier(states: Tensor, initial: Tensor) -> list[Tensor]:
    """Return for each direction the state before each step, (examples, steps, units)."""
    parts = states.chunk(initial.shape[0], dim=-1)
    earlier = [torch.cat([initial[0].unsqueeze(1), parts[0][:, :-1]], dim=1)]
    if len(parts) == 2:
        earlier.append(torch.cat([parts[1][:, 1:], initial[1].unsqueeze(1)], dim=1))
    return earlier


def _packed(args: Sequence[Any], output: Tensor) -> list[Tensor] | str:
    x, batch_sizes, hx, weights, _has_biases, layers, _dropout, _train, _bidirectional = args
    if layers > 1:
        return PACKED_LAYERS
    sizes = [int(size) for size in batch_sizes]  # torch keeps them on the CPU
    parts = output.chunk(hx.shape[0], dim=-1)
    earlier = []
    for direction, states in enumerate(parts):
        rows = _earlier_rows(sizes, len(states), backward=direction == 1).to(states.device)
        earlier.append(torch.cat([states, hx[direction]])[rows])
    return [_of_layer(x, earlier, weights, len(parts))]


def _earlier_rows(sizes: Sequence[int], total: int, *, backward: bool) -> Tensor:
    """Return for each packed row the row of the state before it; rows from ``total`` on are the initial states."""
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    rows = []
    for step, size in enumerate(sizes):
        other = step + 1 if backward else step - 1
        known = min(size, sizes[other]) if 0 <= other < len(sizes) else 0
        if known:
            rows.append(torch.arange(offsets[other], offsets[other] + known))
        rows.append(torch.arange(total + known, total + size))
    return torch.cat(rows)


def _of_layer(x: Tensor, earlier: Sequence[Tensor], weights: Sequence[Tensor], directions: int) -> Tensor:
    """Return the pre-activations of one layer, those of both directions side by side."""
    per_direction = len(weights) // directions
    parts = []
    for direction, states in enumerate(earlier):
        w_ih, w_hh, *biases = weights[direction * per_direction : (direction + 1) * per_direction]
        b_ih, b_hh = biases or (None, None)
        parts.append(functional.linear(x, w_ih, b_ih) + functional.linear(states, w_hh, b_hh))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
