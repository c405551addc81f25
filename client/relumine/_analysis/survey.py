"""A survey of a model's ReLUs on given inputs: which units are active, where they come from, and what reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relumine._analysis import calls
from relumine._analysis.unit_path_mode import OTHER_RELU, UnitPathMode
from relumine._analysis.unit_paths import Consumer, ReluCallback, TrackedUnits, UnitPath
from relumine._capture import unit_sums
from relumine._torch.compile import EagerStance
from relumine._torch.forward import Batch, Inputs, batches_of, preserve_model_state
from relumine._torch.modules import ModuleNames, named_models, unwrap_model
from relumine._torch.tensors import is_local_dense

SUM_CALLS = frozenset({"add", "iadd", "sub", "isub"})
FLOAT32_EPS_MAX = 1e-6  # a type with a coarser spacing around 1 is coarser than float32

UNKNOWN_PRODUCER = "the layer that computes its pre-activation is not known"
SEVERAL_PRODUCERS = "different layers compute its pre-activation on different inputs"
SHARED_WEIGHTS = "its weights are used elsewhere too"
SHARDED_WEIGHTS = "its weights are sharded over processes"
FROZEN_WEIGHTS = "its weights are frozen"
NO_CONSUMER = "no layer that is known"
SHARED_CONSUMER = "a layer whose weights are used elsewhere too"
FROZEN_CONSUMER = "a layer whose weights are frozen"


@dataclass(slots=True, eq=False)
class ReluInfo:
    """One ReLU on all inputs.

    ``active`` counts, for each unit, how many of its ``outputs`` are above 0. ``in_sum`` is true if it reads a sum of
    layers, or a sum reads it. ``blockers`` are the reasons why its units cannot be changed. ``unknown_consumers`` are
    what reads its units besides ``consumers``, which are keyed by the id of their weight.
    """

    name: str
    active: Tensor
    outputs: int = 0
    finite: bool = True
    path: UnitPath | None = None
    consumers: dict[int, Consumer] = field(default_factory=dict)
    in_sum: bool = False
    blockers: set[str] = field(default_factory=set)
    unknown_consumers: set[str] = field(default_factory=set)

    @property
    def dead(self) -> Tensor:
        """Indices of the units that are active on no output; empty if the ReLU read NaN or infinity."""
        if not self.finite:
            return self.active.new_zeros(0)
        return (self.active == 0).nonzero().flatten()

    def active_rate(self, units: Tensor) -> float:
        """Return the share of outputs on which these units are active."""
        if not len(units) or not self.outputs:
            return 0.0
        return float(self.active[units].double().mean()) / self.outputs


class ReluSurvey:
    """A model and inputs to run it on, with the same random numbers in every forward and in the modes the model is in.

    ``labels`` are the names of parameters and buffers, by their id.
    """

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self.model = unwrap_model(model)
        self.batches = batches_of(inputs)
        self.names = ModuleNames(named_models(self.model), None, None)
        self.parameters = {id(parameter): parameter for parameter in self.model.parameters()}
        self.labels = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self.labels |= {id(buffer): name for name, buffer in self.model.named_buffers()}
        self._seed = torch.initial_seed()

    def run(self) -> tuple[dict[str, ReluInfo], list[Tensor]]:
        """Return every ReLU by its name, in order of use, and the model's output for the first batch."""
        relus: dict[str, ReluInfo] = {}

        def on_relu(name: str, z: Tensor, source: TrackedUnits | None) -> None:
            _count_active(relus, name, z, source)

        first_output: list[Tensor] | None = None
        for mode, output in self._forwards(on_relu):
            if first_output is None:
                tensors = calls.tensors_in(output)
                first_output = [tensor.detach().clone() for tensor in tensors if tensor.is_floating_point()]
            for relu in relus.values():
                if relu.path is not None:
                    _find_blockers(relu, relu.path, mode)
                    _find_consumers(relu, relu.path, mode)
        return relus, first_output or []

    def replay(self, on_relu: ReluCallback) -> None:
        """Run all batches once more and give every ReLU's pre-activation to ``on_relu``."""
        for _ in self._forwards(on_relu):
            pass

    def _forwards(self, on_relu: ReluCallback) -> Iterator[tuple[UnitPathMode, Any]]:
        for batch in self.batches:
            mode = UnitPathMode(self.names, self.parameters, on_relu)
            yield mode, self._forward(mode, batch)

    def _forward(self, mode: UnitPathMode, batch: Batch) -> Any:
        with preserve_model_state(self.model), EagerStance(), torch.enable_grad():
            torch.default_generator.manual_seed(self._seed)
            torch.cuda.manual_seed_all(self._seed)
            torch.clear_autocast_cache()  # it may hold copies of weights that were changed since
            return mode.run(self.model, batch)


def _count_active(relus: dict[str, ReluInfo], name: str, z: Tensor, source: TrackedUnits | None) -> None:
    """Add the pre-activation of one ReLU in one forward to its counts."""
    known_dim = None
    if source is not None:
        known_dim = calls.unit_dim(source.unit_index, source.path.unit_count)
    dim = known_dim
    if dim is None:
        dim = unit_sums.unit_dim(z, channels_first=z.dim() > 3)
    rows = z.detach().movedim(dim, -1).reshape(-1, z.shape[dim])
    relu = relus.setdefault(name, ReluInfo(name, torch.zeros(rows.shape[1], dtype=torch.long)))
    relu.outputs += len(rows)
    relu.active += (rows > 0).sum(0).cpu()
    relu.finite = relu.finite and bool(rows.isfinite().all())
    if source is None or known_dim is None:
        relu.in_sum = relu.in_sum or _is_result_of_add(z)
        relu.blockers.add(UNKNOWN_PRODUCER)
    elif relu.path is not None and relu.path.weight is not source.path.weight:
        relu.blockers.add(SEVERAL_PRODUCERS)
    else:
        relu.path = source.path


def _is_result_of_add(z: Tensor) -> bool:
    return z.grad_fn is not None and z.grad_fn.name().startswith("AddBackward")


def _find_blockers(relu: ReluInfo, path: UnitPath, mode: UnitPathMode) -> None:
    """Record why the ReLU's units cannot be changed on their own."""
    parameters = path.parameters
    if any(mode.uses[id(parameter)] > 1 for parameter in parameters):
        relu.blockers.add(SHARED_WEIGHTS)
    if not all(is_local_dense(parameter) for parameter in parameters):
        relu.blockers.add(SHARDED_WEIGHTS)
    if not all(parameter.requires_grad for parameter in parameters):
        relu.blockers.add(FROZEN_WEIGHTS)
    if path.relu_name != relu.name or path.other_preactivation_users:
        users = ", ".join(sorted(path.other_preactivation_users)) or OTHER_RELU
        relu.blockers.add(f"its pre-activation is also read by {users}")


def _find_consumers(relu: ReluInfo, path: UnitPath, mode: UnitPathMode) -> None:
    """Record the layers that read the ReLU's units, and all that reads them otherwise."""
    for consumer in path.consumers:
        relu.consumers[id(consumer.weight)] = consumer
        if mode.uses[id(consumer.weight)] > 1:
            relu.unknown_consumers.add(SHARED_CONSUMER)
        if not consumer.weight.requires_grad:
            relu.unknown_consumers.add(FROZEN_CONSUMER)
    relu.unknown_consumers |= path.other_activation_users
    if not path.consumers:
        relu.unknown_consumers.add(NO_CONSUMER)
    users = path.other_activation_users | path.other_preactivation_users
    relu.in_sum = relu.in_sum or not SUM_CALLS.isdisjoint(users)


def max_difference(outputs: Sequence[Tensor], others: Sequence[Tensor]) -> float | None:
    """Return the largest absolute difference between two model outputs; None if they cannot be compared."""
    if not outputs or [tensor.shape for tensor in outputs] != [tensor.shape for tensor in others]:
        return None
    pairs = zip(outputs, others, strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())


def max_magnitude(outputs: Sequence[Tensor]) -> float:
    """Return the largest absolute value in a model output; infinity if one of its types is coarser than float32."""
    if any(torch.finfo(tensor.dtype).eps > FLOAT32_EPS_MAX for tensor in outputs):
        return float("inf")
    return max((float(tensor.abs().max()) for tensor in outputs if tensor.numel()), default=0.0)
