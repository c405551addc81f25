"""Paths of units, from the layer that computes them to the layers that consume their activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from relumine._analysis.tracked_tensor import Stage, TrackedTensor


class BatchNormInfo(NamedTuple):
    """A BatchNorm between a layer and its ReLU.

    ``mean`` and ``var`` are its running statistics, if it keeps any. ``uses_batch_stats`` is true where this forward
    normalized by the statistics of the batch instead.
    """

    input: Tensor
    gamma: nn.Parameter
    beta: nn.Parameter
    mean: Tensor | None
    var: Tensor | None
    eps: float
    uses_batch_stats: bool


@dataclass(slots=True, eq=False)
class Consumer:
    """A Linear or convolution that reads the units. ``input_units`` holds the unit of each of its inputs."""

    weight: nn.Parameter
    input_units: Tensor

    def weights_reading(self, units: Tensor) -> Tensor:
        """Return the weights that read one of ``units``, boolean, in the shape of ``weight``."""
        reads_unit = torch.isin(self.input_units, units.to(self.input_units.device, self.input_units.dtype))
        reads_unit = reads_unit.to(self.weight.device)
        outputs, inputs = self.weight.shape[:2]
        groups = len(reads_unit) // inputs
        by_output = reads_unit.view(groups, 1, inputs).expand(groups, outputs // groups, inputs)
        kernel_dims = [1] * (self.weight.dim() - 2)
        return by_output.reshape(outputs, inputs).view(outputs, inputs, *kernel_dims).expand(self.weight.shape)


@dataclass(slots=True, eq=False)
class UnitPath:
    """The units of one layer, the ReLU that they go through, and the consumers of their activation.

    ``other_preactivation_users`` are further uses of the pre-activation: it cannot be changed without changing those.
    ``other_activation_users`` are uses of the activation that are not in ``consumers``: what depends on them is not
    known.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    unit_count: int
    norm: BatchNormInfo | None = None
    relu_name: str | None = None
    consumers: list[Consumer] = field(default_factory=list)
    other_preactivation_users: set[str] = field(default_factory=set)
    other_activation_users: set[str] = field(default_factory=set)

    @property
    def preactivation_stage(self) -> Stage:
        """The stage at which the ReLU reads the units."""
        return Stage.LAYER_OUTPUT if self.norm is None else Stage.NORMALIZED

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the pre-activation depends on."""
        parameters = [self.weight]
        if self.bias is not None:
            parameters.append(self.bias)
        if self.norm is not None:
            parameters += [self.norm.gamma, self.norm.beta]
        return parameters


@dataclass(slots=True, eq=False)
class TrackedUnits(TrackedTensor):
    """A tensor on a path, with its unit index map."""

    path: UnitPath
    unit_index: Tensor

    def mark_untraceable(self, user: str) -> None:
        """Record a use of the tensor through which the units cannot be followed."""
        if self.stage is Stage.ACTIVATED:
            self.path.other_activation_users.add(user)
        else:
            self.path.other_preactivation_users.add(user)


ReluCallback: TypeAlias = Callable[[str, Tensor, "TrackedUnits | None"], None]
"""Function of a ReLU's name, its pre-activation, and the latter's path; None where the path is unknown."""
