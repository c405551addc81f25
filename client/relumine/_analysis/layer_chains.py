"""Chains of plain layers, found by tracing one forward: each layer reads the ReLU of the layer before it.

Between two layers of a chain there are only reshapes, poolings and dropouts, which keep an inactive unit at 0. A sum, a
normalization or a grouped convolution ends a chain. For ``check`` only: it keeps tensors of the forward alive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relumine._analysis.calls import DROPOUTS, POOLS, RESHAPES, Call
from relumine._analysis.tracked_tensor import Stage, TrackedTensor
from relumine._torch.activations import match_activation
from relumine._torch.tensors import is_unchanged, version_of

MAX_TRACKED = 32  # tensors tracked at a time

Pool: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class ChainLayer:
    """One Linear or ungrouped convolution whose output a ReLU reads directly.

    ``forward`` is its function of (input, weight, bias), and ``positions`` its outputs per unit and example.
    ``input`` is the tensor it read, at ``input_version``. ``previous`` is the layer whose activation that is, after
    ``pools``; None for the first layer of a chain.
    """

    weight: Tensor
    bias: Tensor | None
    forward: Callable[..., Any]
    positions: int
    input: Tensor
    input_version: int
    previous: ChainLayer | None
    pools: tuple[Pool, ...] = ()

    @property
    def units(self) -> int:
        """Number of features or channels."""
        return self.weight.shape[0]

    @property
    def is_conv(self) -> bool:
        """True if its units have positions."""
        return self.weight.dim() > 2

    def sample_inputs(self, count: int) -> Tensor:
        """Return at most ``count`` of its finite inputs, evenly spaced, on the CPU: (inputs, features or channels, …).

        Return none if the input was changed in place after the layer read it.
        """
        rows = self.input if self.is_conv else self.input.reshape(-1, self.input.shape[-1])
        if not is_unchanged(self.input, self.input_version):
            rows = rows[:0]
        rows = rows[rows.flatten(1).isfinite().all(1)]
        indices = torch.linspace(0, len(rows) - 1, min(len(rows), count), device="cpu").round().long()
        return rows[indices.to(rows.device)].to(device="cpu", dtype=torch.float32)


@dataclass(slots=True, eq=False)
class TrackedActivation(TrackedTensor):
    """The output of ``layer`` or, once activated, its activation after ``pools``."""

    layer: ChainLayer
    pools: tuple[Pool, ...] = ()


class LayerChainMode(TorchFunctionMode):
    """Traces the chains of one forward. Every call runs unchanged; ``layers`` grows in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[ChainLayer] = []
        self._tracked: dict[int, TrackedActivation] = {}
        self._used_weights: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = Call.from_arguments(func, args, kwargs)
        source = self._tracked_input(call)  # looked up before the call, which may change its input in place
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._tracked.pop(id(result), None)
            tracked = self._track(call, source, result)
            if tracked is not None:
                self._tracked[id(result)] = tracked
            if len(self._tracked) > MAX_TRACKED:
                del self._tracked[next(iter(self._tracked))]
        return result

    def _tracked_input(self, call: Call) -> TrackedActivation | None:
        tracked = self._tracked.get(id(call.tensor_argument(0, "input")))
        return tracked if tracked is not None and tracked.is_unchanged else None

    def _track(self, call: Call, source: TrackedActivation | None, result: Tensor) -> TrackedActivation | None:
        """Return the result as a tensor of a chain; None where it does not belong to one."""
        if call.is_layer:
            layer = self._chain_layer(call, source, result)
            return None if layer is None else TrackedActivation(result, Stage.LAYER_OUTPUT, layer)
        if source is None:
            return None
        if source.stage is Stage.LAYER_OUTPUT:
            activation = match_activation(call.function, call.args, call.kwargs)
            if activation is None or not activation.can_die:
                return None
            self.layers.append(source.layer)
            return TrackedActivation(result, Stage.ACTIVATED, source.layer)
        pools = source.pools
        if call.name in POOLS and source.layer.is_conv:
            pools = (*pools, call.as_function_of(1))
        elif call.name not in RESHAPES | DROPOUTS:
            return None
        return TrackedActivation(result, Stage.ACTIVATED, source.layer, pools)

    def _chain_layer(self, call: Call, source: TrackedActivation | None, result: Tensor) -> ChainLayer | None:
        """Return the layer that the call computes; None where it is not plain, or its weights were used before."""
        x = call.tensor_argument(0, "input")
        weight = call.tensor_argument(1, "weight")
        if x is None or weight is None or id(weight) in self._used_weights or not _is_plain(x, weight, result):
            return None
        self._used_weights.add(id(weight))
        if source is not None and not _reads_units(source, x, weight):
            source = None
        return ChainLayer(
            weight=weight,
            bias=call.tensor_argument(2, "bias"),
            forward=call.as_function_of(3),
            positions=math.prod(result.shape[2:]) if weight.dim() > 2 else 1,
            input=x.detach(),
            input_version=version_of(x),
            previous=None if source is None else source.layer,
            pools=() if source is None else source.pools,
        )


def find_chains(layers: Iterable[ChainLayer], weight_ids: Collection[int]) -> list[list[ChainLayer]]:
    """Return the chains of the layers whose weight's id is in ``weight_ids``, each layer after the one it reads.

    Where two layers read the same one, the first continues the chain and the second begins another.
    """
    chains: list[list[ChainLayer]] = []
    chain_by_last_layer: dict[int, list[ChainLayer]] = {}
    for layer in layers:
        if id(layer.weight) not in weight_ids:
            continue
        chain = chain_by_last_layer.pop(id(layer.previous), None)
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(layer)
        chain_by_last_layer[id(layer)] = chain
    return chains


def _is_plain(x: Tensor, weight: Tensor, result: Tensor) -> bool:
    """Return True if each unit reads all channels of the input, as units of a grouped convolution do not."""
    if result.numel() == 0:
        return False
    if weight.dim() == 2:
        return x.dim() > 1
    return x.dim() == weight.dim() and x.shape[1] == weight.shape[1]


def _reads_units(source: TrackedActivation, x: Tensor, weight: Tensor) -> bool:
    """Return True if the layer reads the activations of ``source``, one example per row, not mixed by a reshape."""
    if source.stage is not Stage.ACTIVATED:
        return False
    source_weight = source.layer.weight
    if source_weight.dim() == 2:
        return weight.dim() == 2 and weight.shape[1] == source_weight.shape[0]
    if x.shape[0] != source.layer.input.shape[0]:  # positions became examples
        return False
    if weight.dim() > 2:
        return weight.dim() == source_weight.dim() and weight.shape[1] == source_weight.shape[0]
    return x.dim() == 2
