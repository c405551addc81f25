"""Finds the places of a model where a ReLU acts, by module. Reads the model, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TypeAlias

from torch import nn

Models: TypeAlias = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]

CAN_DIE: Mapping[type[nn.Module], str] = {nn.ReLU: "relu", nn.ReLU6: "relu6"}
CANNOT_DIE: Mapping[type[nn.Module], str] = {
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.RReLU: "rrelu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Softplus: "softplus",
}
PRODUCERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, slots=True)
class Found:
    """A module of interest and its path in the model."""

    name: str
    module: nn.Module
    activation: str = ""
    can_die: bool = False


def named_models(model: Models) -> dict[str, nn.Module]:
    """One model, a list or a dict of them, by the prefix of their layers' names (none for a single one)."""
    if isinstance(model, nn.Module):
        return {"": model}
    if isinstance(model, Mapping):
        return dict(model)
    return {str(index): one for index, one in enumerate(model)}


def activations(
    models: Mapping[str, nn.Module], include: Iterable[str] | None, exclude: Iterable[str] | None
) -> list[Found]:
    """All activation modules, in the order of the model; names filtered by the glob patterns given."""
    wanted = None if include is None else list(include)
    unwanted = list(exclude or ())
    found = []
    for name, module in _modules(models):
        kind = CAN_DIE.get(type(module)) or CANNOT_DIE.get(type(module))
        if kind is None or (wanted is not None and not _matches(name, wanted)) or _matches(name, unwanted):
            continue
        found.append(Found(name, module, kind, type(module) in CAN_DIE))
    return found


def producers(models: Mapping[str, nn.Module]) -> list[Found]:
    """All modules whose output may be a pre-activation that we can account for."""
    return [Found(name, module) for name, module in _modules(models) if isinstance(module, PRODUCERS)]


def _modules(models: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for prefix, model in models.items():
        for path, module in model.named_modules():
            clean = path.removeprefix("module.")  # what DataParallel and DDP put in front
            yield (f"{prefix}.{clean}" if prefix and clean else clean or prefix or "model"), module


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
