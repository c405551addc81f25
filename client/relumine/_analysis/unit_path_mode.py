"""Unit paths of a model, found by tracing one forward.

A path begins at the output of a Linear or a convolution, may pass a BatchNorm, goes through one ReLU and ends in the
layers that read the activation. Any other use of the tensors on the way is recorded by name: consumers are never
guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from relumine._analysis import calls
from relumine._analysis.calls import Call
from relumine._analysis.tracked_tensor import Stage
from relumine._analysis.unit_paths import BatchNormInfo, Consumer, ReluCallback, TrackedUnits, UnitPath
from relumine._torch.activations import Activation, match_activation
from relumine._torch.forward import Batch, call_model
from relumine._torch.modules import ModuleNames

BATCH_NORM_EPS = 1e-5  # default of torch.nn.functional.batch_norm
MODEL_OUTPUT = "the model's output"
IN_PLACE_CHANGE = "an in-place change"
OTHER_RELU = "another ReLU"
UNNAMED_CALL = "an unknown call"


class UnitPathMode(TorchFunctionMode):
    """Traces the unit paths of one forward. Every call runs unchanged.

    ``uses`` counts the calls that read each parameter, by the parameter's id.
    """

    def __init__(self, names: ModuleNames, parameters: Mapping[int, nn.Parameter], on_relu: ReluCallback) -> None:
        super().__init__()
        self.uses: Counter[int] = Counter()
        self._names = names
        self._parameters = parameters
        self._on_relu = on_relu
        self._tracked: dict[int, TrackedUnits] = {}
        self._module_stack: list[nn.Module] = []
        self._activation_counts: Counter[int] = Counter()

    def run(self, model: nn.Module, batch: Batch) -> Any:
        """Run the model on a batch, trace it, and return its output."""
        handles = [
            register_module_forward_pre_hook(lambda module, _: self._module_stack.append(module)),
            register_module_forward_hook(self._pop_module, always_call=True),
        ]
        self._module_stack.append(model)
        try:
            with self:
                output = call_model(model, batch)
        finally:
            for handle in handles:
                handle.remove()
        for tensor in calls.tensors_in(output):
            tracked = self._tracked.get(id(tensor))
            if tracked is not None and tracked.tensor is tensor:
                tracked.mark_untraceable(MODEL_OUTPUT)
        return output

    def _pop_module(self, *_: Any) -> None:
        self._module_stack.pop()

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = Call.from_arguments(func, args, kwargs)
        inputs = call.tensors()
        sources = self._tracked_among(inputs)
        activation = match_activation(func, call.args, call.kwargs)
        if activation is not None:
            self._report_relu(activation, call, sources)  # before the call, which may change its input in place
        result = func(*args, **kwargs)
        if call.reads_metadata_only(result):
            return result
        self.uses.update({id(tensor) for tensor in inputs if id(tensor) in self._parameters})
        followed = self._follow(call, activation, sources, result)
        for tensor in calls.tensors_in(result):
            self._tracked.pop(id(tensor), None)
        for tracked in followed:
            self._tracked[id(tracked.tensor)] = tracked
        return result

    def _tracked_among(self, tensors: Iterable[Tensor]) -> list[TrackedUnits]:
        sources = []
        for tensor in tensors:
            tracked = self._tracked.get(id(tensor))
            if tracked is None:
                continue
            if tracked.is_unchanged:
                sources.append(tracked)
            else:
                tracked.mark_untraceable(IN_PLACE_CHANGE)
        return sources

    def _report_relu(self, activation: Activation, call: Call, sources: list[TrackedUnits]) -> None:
        """Give a ReLU's pre-activation to the callback, and its name to the path."""
        name = self._next_name(activation)
        z = call.tensor_argument(0, "input")
        if name is None or z is None or not activation.can_die:
            return
        if sources and sources[0].stage is Stage.ACTIVATED:
            return
        source = sources[0] if len(sources) == 1 else None
        if source is not None:
            path = source.path
            if path.relu_name is None and source.stage is path.preactivation_stage:
                path.relu_name = name
            else:
                source.mark_untraceable(OTHER_RELU)
        self._on_relu(name, z, source)

    def _next_name(self, activation: Activation) -> str | None:
        """Count an activation of the innermost module and return its name; None outside the model."""
        module = self._module_stack[-1]
        self._activation_counts[id(module)] += 1
        if id(module) not in self._names.ids:
            return None
        return self._names.activation_name(module, activation, self._activation_counts[id(module)])

    def _follow(
        self, call: Call, activation: Activation | None, sources: list[TrackedUnits], result: Any
    ) -> list[TrackedUnits]:
        """Return the tensors of the result that carry units on; mark the sources where there are none."""
        if call.is_layer:
            return self._follow_layer(call, sources, result)
        followed: list[TrackedUnits] = []
        if len(sources) == 1 and sources[0].tensor is call.argument(0, "input"):
            followed = self._follow_call(call, activation, sources[0], result)
        if not followed:
            for source in sources:
                source.mark_untraceable(call.name or UNNAMED_CALL)
        return followed

    def _follow_call(
        self, call: Call, activation: Activation | None, source: TrackedUnits, result: Any
    ) -> list[TrackedUnits]:
        path = source.path
        is_relu = activation is not None and activation.can_die
        if is_relu and source.stage in (path.preactivation_stage, Stage.ACTIVATED):
            return [TrackedUnits(result, Stage.ACTIVATED, path, source.unit_index)]
        if call.name in calls.NORM_FUNCTIONS and _is_layer_output_with_channels(source):
            path.norm = self._batch_norm(call)
            if path.norm is None:
                return []
            return [TrackedUnits(result, Stage.NORMALIZED, path, source.unit_index)]
        if source.stage is Stage.ACTIVATED or call.name in calls.RESHAPING:
            carried = calls.propagate(call, source.unit_index, result)
            return [TrackedUnits(tensor, source.stage, path, unit_index) for tensor, unit_index in carried]
        return []

    def _follow_layer(self, call: Call, sources: list[TrackedUnits], result: Tensor) -> list[TrackedUnits]:
        """End the paths of the layer's inputs, and begin the path of its output."""
        weight = call.argument(1, "weight")
        bias = call.argument(2, "bias")
        for source in sources:
            consumer = None
            if source.tensor is call.argument(0, "input"):
                consumer = self._consumer(source, weight)
            if consumer is None:
                source.mark_untraceable(call.name)
            else:
                source.path.consumers.append(consumer)
        if id(weight) not in self._parameters or (bias is not None and id(bias) not in self._parameters):
            return []
        if result.dim() < 2 or (weight.dim() > 2 and result.dim() != weight.dim()):
            return []
        path = UnitPath(weight, bias, weight.shape[0])
        unit_index = calls.unit_index_map(result, path.unit_count, _feature_dim(weight))
        return [TrackedUnits(result, Stage.LAYER_OUTPUT, path, unit_index)]

    def _consumer(self, source: TrackedUnits, weight: Tensor) -> Consumer | None:
        parameter = self._parameters.get(id(weight))
        if parameter is None or source.stage is not Stage.ACTIVATED:
            return None
        if weight.dim() > 2 and source.unit_index.dim() != weight.dim():
            return None
        input_units = calls.units_along(source.unit_index, _feature_dim(weight))
        return None if input_units is None else Consumer(parameter, input_units)

    def _batch_norm(self, call: Call) -> BatchNormInfo | None:
        """Return the BatchNorm of a call; None where γ and β are no parameters of the model."""
        gamma = self._parameters.get(id(call.argument(3, "weight")))
        beta = self._parameters.get(id(call.argument(4, "bias")))
        if gamma is None or beta is None:
            return None
        eps = call.argument(7, "eps")
        return BatchNormInfo(
            input=call.argument(0, "input"),
            gamma=gamma,
            beta=beta,
            mean=call.argument(1, "running_mean"),
            var=call.argument(2, "running_var"),
            eps=BATCH_NORM_EPS if eps is None else eps,
            uses_batch_stats=bool(call.argument(5, "training")),
        )


def _feature_dim(weight: Tensor) -> int:
    """Return the dimension of features or channels in what a layer with this weight reads and returns."""
    return -1 if weight.dim() == 2 else 1


def _is_layer_output_with_channels(source: TrackedUnits) -> bool:
    """Return True if the tensor is a layer's output with its units in dimension 1, where BatchNorm expects them."""
    if source.stage is not Stage.LAYER_OUTPUT:
        return False
    return calls.unit_dim(source.unit_index, source.path.unit_count) == 1
