"""The activations that can replace a ReLU, by name or by torch's module."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

ReplacementName: TypeAlias = Literal["leaky_relu", "prelu", "elu", "gelu"]

NAMES: dict[type[nn.Module], ReplacementName] = {
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
}
NEGATIVE_SLOPE = 0.01
DEFAULTS = {str(module) for module in (nn.ELU(), nn.ELU(inplace=True), nn.GELU())}


def name_and_slope(activation: ReplacementName | nn.Module | type[nn.Module]) -> tuple[ReplacementName, float]:
    """Return the name and the slope of an activation that is given by its name, its module or the class of that.

    Raises:
        ValueError: there is no such activation, or the module has a setting that a replacement cannot have.
    """
    if isinstance(activation, str):
        return activation, NEGATIVE_SLOPE
    kind = activation if isinstance(activation, type) else type(activation)
    name = NAMES.get(kind)
    if name is None:
        raise ValueError(f"{kind.__name__} is not one of {', '.join(known.__name__ for known in NAMES)}")
    if isinstance(activation, nn.LeakyReLU):
        return name, activation.negative_slope
    if isinstance(activation, nn.PReLU) and activation.num_parameters == 1:
        return name, float(activation.weight.detach())
    if isinstance(activation, nn.Module) and str(activation) not in DEFAULTS:
        raise ValueError(f"{activation} cannot be used: of {kind.__name__} only the default can")
    return name, NEGATIVE_SLOPE
