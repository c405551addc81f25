"""The producer of a pre-activation: the module that returned it, the split this allows, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from relumine._torch.feature_axis import is_weight
from relumine._torch.modules import (
    as_convolution,
    has_forward_hooks,
    has_units,
    is_batch_norm,
    is_channels_first,
    is_convolution,
    is_producer,
    registered_bias,
    registered_weight,
)
from relumine._torch.tensors import is_unchanged, version_of
from relumine._torch.unwrap import unwrap
from relumine.schemas.upload import Split

NORMALIZED_BY = "shares of weights and input: the batch is normalised in between"
SUM_OF_BRANCHES = "shares: a sum of several layers"
UNKNOWN_PRODUCER = "producer: not found"
COMPUTED_WEIGHT = "shares: the producer's weight is computed in each forward, and is never computed for a measurement"
OWN_FORWARD = "shares: the producer has a forward of its own"
SHARDED_WEIGHT = "producer's weights: sharded over processes"

# Number of module outputs remembered until an activation reads them.
MAX_RECENT_OUTPUTS = 8

LAYER_FUNCTIONS = frozenset({"linear", "conv1d", "conv2d", "conv3d", "batch_norm"})
# Products that tell apart the layers of a loop over parameters, whose outputs are not remembered.
WEIGHTED = LAYER_FUNCTIONS | {"matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "layer_norm", "group_norm"}


class LayerCall(NamedTuple):
    """The module in which a layer function was called, and what it returned."""

    module: nn.Module
    output: Any


class ModuleOutput(NamedTuple):
    """A tensor that a module, or a layer function called in it, returned.

    Attributes:
        output: the tensor.
        version: its in-place version then.
        module: the innermost module that was running.
        input: the input of the module or the function, where it is a plain tensor.
        function: the layer function that returned it (``linear``, ``conv2d``, ``batch_norm``), or "".
        weight: the weight that the function used.
        bias: the bias that the function used.
    """

    output: Tensor
    version: int
    module: nn.Module
    input: Tensor | None
    function: str = ""
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def trained_weight(self) -> Tensor | None:
        """The weight that was used, if it is a parameter that nothing computed: the update will change this tensor."""
        return _trained(self.weight)

    @property
    def trained_bias(self) -> Tensor | None:
        """The bias that was used, if it is such a parameter."""
        return _trained(self.bias)


class RecentOutputs:
    """The latest outputs of modules and layer functions of a forward, found again by the identity of the tensor."""

    def __init__(self) -> None:
        self._outputs: dict[int, ModuleOutput] = {}
        self.last_module = 0
        self.last_weight = 0

    def is_remembered(self, output: Tensor, module: nn.Module) -> bool:
        """Return True if the output was remembered when its function returned it, and nothing is to be added."""
        earlier = self._outputs.get(id(output))
        if earlier is None or earlier.output is not output or (earlier.module is module and is_convolution(module)):
            return False
        self.last_module = id(module)
        return True

    def remember(self, output: Tensor, module: nn.Module, module_input: Tensor | None) -> None:
        """Store a module's output. The innermost module that returned a tensor is its producer: others are ignored."""
        self.last_module = id(module)
        key = id(output)
        earlier = self._outputs.get(key)
        if earlier is not None and earlier.output is output:
            # The function returned it: what a convolution read is known of its module, before the padding.
            if earlier.module is module and is_convolution(module):
                self._outputs[key] = earlier._replace(input=module_input)
            return
        self._put(
            ModuleOutput(
                output=output,
                version=version_of(output),
                module=module,
                input=module_input,
                weight=registered_weight(module),
                bias=registered_bias(module),
            )
        )

    def remember_call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], call: LayerCall) -> None:
        """Store the output of a layer function, and the weights that it really used."""
        x, weight, bias = _layer_arguments(name, args, kwargs)
        if isinstance(weight, nn.Parameter):
            self.last_weight = id(weight)
        if name not in LAYER_FUNCTIONS or not isinstance(call.output, Tensor) or not isinstance(x, Tensor):
            return
        read = None if name.startswith("conv") else x
        self._put(
            ModuleOutput(
                output=call.output,
                version=version_of(call.output),
                module=call.module,
                input=read,
                function=name,
                weight=weight,
                bias=bias,
            )
        )

    def _put(self, entry: ModuleOutput) -> None:
        self._outputs[id(entry.output)] = entry
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
        self.last_module = 0
        self.last_weight = 0


def _layer_arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return input, weight and bias of a call of a layer function or a product; of others than layers, the weight."""
    if len(args) >= 3 and name not in {"batch_norm", "einsum"}:  # as torch's own modules call them
        return args[0], args[1], args[2]
    values = list(args)
    if name == "batch_norm":
        # functional.batch_norm; torch.batch_norm has another order and a ninth argument.
        values = [*args[:1], *args[3:5]]
        if len(args) >= 9:
            values = [None]
    elif name == "einsum":
        values = [None, *args[2:3]]
    keys = ("input", "weight", "bias")
    x, weight, bias = (values[index] if len(values) > index else kwargs.get(key) for index, key in enumerate(keys))
    return x, weight, bias


def _trained(tensor: Tensor | None) -> Tensor | None:
    if type(tensor) is nn.Parameter:  # the usual case, before the slower tests
        return tensor
    if not isinstance(tensor, Tensor):
        return None
    plain = unwrap(tensor)
    is_parameter = isinstance(tensor, nn.Parameter) or (plain.tensor is not None and plain.tensor.requires_grad)
    if plain.tensor is None or plain.batch_dims or not is_parameter or not plain.tensor.is_leaf:
        return None
    return plain.tensor


class ProducerInfo(NamedTuple):
    """The producer of a layer's pre-activation, as found when the layer is first recorded."""

    producer: nn.Module | None
    split: Split
    missing: list[str]
    fan_in: int | None = None


def find_producer(
    z: Tensor, source: ModuleOutput | None, recent_outputs: Sequence[ModuleOutput], path_of: Callable[[nn.Module], str]
) -> ProducerInfo:
    """Return the producer of ``z``.

    Args:
        z: the pre-activation.
        source: the output of a module or layer function that ``z`` is; None if none returned it.
        recent_outputs: other outputs before it, the latest last.
        path_of: returns the path of a module, for messages.
    """
    if source is not None and is_layer_output(source) and _has_weights(source):
        return _layer_producer(source)
    if source is not None:
        return ProducerInfo(None, "none", [f"producer: {path_of(source.module)} returned it as a whole"])
    same_shape = [recent for recent in recent_outputs if recent.output.shape == z.shape]
    if same_shape and has_forward_hooks(same_shape[-1].module):
        return ProducerInfo(None, "none", [f"producer: a hook on {path_of(same_shape[-1].module)} replaced its output"])
    if same_shape and z.grad_fn is not None and z.grad_fn.name().startswith("AddBackward"):
        return ProducerInfo(None, "residual", [SUM_OF_BRANCHES])
    return ProducerInfo(None, "none", [UNKNOWN_PRODUCER])


def is_layer_output(source: ModuleOutput) -> bool:
    """Return True for the output of a Linear, convolution or BatchNorm, as a module or as a function."""
    if source.function:
        return source.function == "linear" or is_convolution(source.module) or is_batch_norm(source.module)
    return is_producer(source.module)


def _layer_producer(source: ModuleOutput) -> ProducerInfo:
    weight = source.weight
    fan_in = math.prod(weight.shape[1:]) if isinstance(weight, Tensor) and weight.dim() > 1 else None
    module = source.module
    if source.function == "batch_norm" or (not source.function and is_batch_norm(module)):
        return ProducerInfo(module, "batchnorm", [NORMALIZED_BY])
    if source.trained_weight is None:
        return ProducerInfo(module, "none", [COMPUTED_WEIGHT], fan_in)
    if source.function.startswith("conv") and not is_producer(module):
        return ProducerInfo(module, "none", [OWN_FORWARD], fan_in)
    return ProducerInfo(module, "linear", [], fan_in)


def _has_weights(source: ModuleOutput) -> bool:
    """Return False for a layer function whose weights are features of the batch, as in a comparison of all pairs."""
    weight = source.weight
    if source.function in {"", "batch_norm"} or is_producer(source.module) or not isinstance(weight, Tensor):
        return True
    return is_weight(weight) or unwrap(weight).tensor is not weight


def known_axis(source: ModuleOutput | None) -> int | None:
    """Return the axis of the units where the module or function that returned the tensor decides it.

    -1 for features, 1 for channels; of a convolution counted from the right, so that the batch may be missing.
    """
    if source is None or not _has_weights(source):
        return None
    if source.function == "linear":
        return -1
    if source.function.startswith("conv"):
        return -int(source.function[4]) - 1
    if is_convolution(source.module):
        return -len(as_convolution(source.module).kernel_size) - 1
    if source.function or is_channels_first(source.module):
        return 1
    return -1 if has_units(source.module) else None
