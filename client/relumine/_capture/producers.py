"""The producer of a pre-activation: the module that returned it, the split this allows, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor, nn

from relumine._torch.modules import has_units, is_channels_first, is_linear, is_producer
from relumine._torch.tensors import is_unchanged, version_of
from relumine.schemas.upload import Split

NORMALIZED_BY = "shares of weights and input: the batch is normalised in between"
SUM_OF_BRANCHES = "shares: a sum of several layers"
UNKNOWN_PRODUCER = "producer: not found"
SHARDED_WEIGHT = "producer's weights: sharded over processes"

# Number of module outputs remembered until an activation reads them.
MAX_RECENT_OUTPUTS = 8


class ModuleOutput(NamedTuple):
    """A tensor that a module returned, its in-place version then, and the module's first input."""

    output: Tensor
    version: int
    module: nn.Module
    input: Tensor | None


class RecentOutputs:
    """The latest module outputs of the running forward, found again by the identity of the tensor."""

    def __init__(self) -> None:
        self._outputs: dict[int, ModuleOutput] = {}

    def remember(self, output: Tensor, module: nn.Module, module_input: Tensor | None) -> None:
        """Store an output. The innermost module that returned a tensor is its producer: later ones are ignored."""
        key = id(output)
        if key in self._outputs:
            return
        self._outputs[key] = ModuleOutput(output, version_of(output), module, module_input)
        if len(self._outputs) > MAX_RECENT_OUTPUTS:
            del self._outputs[next(iter(self._outputs))]

    def pop(self, z: Tensor) -> ModuleOutput | None:
        """Return and forget the output that is ``z``; None if no module returned it, or it was changed in place."""
        candidate = self._outputs.pop(id(z), None)
        if candidate is None or candidate.output is not z or not is_unchanged(z, candidate.version):
            return None
        return candidate

    def latest(self) -> list[ModuleOutput]:
        """Return the outputs, oldest first."""
        return list(self._outputs.values())

    def clear(self) -> None:
        """Forget all outputs, so that none is kept alive beyond its forward."""
        self._outputs.clear()


class ProducerInfo(NamedTuple):
    """The producer of a layer's pre-activation, as found when the layer is first recorded."""

    producer: nn.Module | None
    channels_first: bool
    split: Split
    missing: list[str]


def find_producer(
    z: Tensor,
    output: ModuleOutput | None,
    recent_outputs: Iterable[ModuleOutput],
    path_of: Callable[[nn.Module], str],
) -> ProducerInfo:
    """Return the producer of ``z``.

    Args:
        z: the pre-activation.
        output: the output of a module that ``z`` is; None if no module returned it.
        recent_outputs: the outputs of other modules before it, the latest last.
        path_of: returns the path of a module, for messages.
    """
    if output is not None and is_producer(output.module):
        channels_first = is_channels_first(output.module)
        if is_linear(output.module):
            return ProducerInfo(output.module, channels_first, "linear", [])
        return ProducerInfo(output.module, channels_first, "batchnorm", [NORMALIZED_BY])
    same_shape = [recent for recent in recent_outputs if recent.output.shape == z.shape]
    channels_first = _guess_channels_first(z, same_shape)
    if output is not None:
        missing = f"producer: {path_of(output.module)} returned it as a whole"
        return ProducerInfo(None, channels_first, "none", [missing])
    if same_shape and z.grad_fn is not None and z.grad_fn.name().startswith("AddBackward"):
        return ProducerInfo(None, channels_first, "residual", [SUM_OF_BRANCHES])
    return ProducerInfo(None, channels_first, "none", [UNKNOWN_PRODUCER])


def _guess_channels_first(z: Tensor, same_shape: Iterable[ModuleOutput]) -> bool:
    """Return the layout of the latest module with units and an output of the same shape, else guess by dimensions."""
    layout = z.dim() >= 4
    for recent in same_shape:
        if has_units(recent.module):
            layout = is_channels_first(recent.module)
    return layout
