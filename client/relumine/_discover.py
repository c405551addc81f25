"""The names of a model's places. Reads the model, changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import TypeAlias

from torch import nn

from relumine._activations import Activation

Models: TypeAlias = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]

MODULES = (nn.ReLU, nn.ReLU6)
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel, DDP and torch.compile put in front


def named_models(model: Models) -> dict[str, nn.Module]:
    """One model, a list or a dict of them, by the prefix of their layers' names (none for a single one)."""
    if isinstance(model, nn.Module):
        return {"": model}
    if isinstance(model, Mapping):
        return dict(model)
    return {str(index): one for index, one in enumerate(model)}


class Names:
    """Paths of all modules, and the names of the activations that act in them."""

    def __init__(
        self, models: Mapping[str, nn.Module], include: Iterable[str] | None, exclude: Iterable[str] | None
    ) -> None:
        self._paths = {id(module): (path, module) for path, module in _walk(models)}
        self._wanted = None if include is None else list(include)
        self._unwanted = list(exclude or ())

    def modules(self) -> Iterator[nn.Module]:
        """Every module, the outer ones first."""
        return (module for _, module in self._paths.values())

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._paths

    def of(self, module: nn.Module) -> str:
        """The path of a module."""
        return self._paths[id(module)][0] or "model"

    def of_activation(self, module: nn.Module, activation: Activation, call: int) -> str | None:
        """The name of the ``call``-th activation within a module; None where it was filtered out.

        A module that is an activation gives its own path, any other its path and the activation's name.
        """
        path = self._paths[id(module)][0]
        own = next(module.children(), None) is None and next(module.parameters(recurse=False), None) is None
        name = path if own and path else f"{path}.{activation.name}".lstrip(".")
        name = name if call == 1 else f"{name}#{call}"
        return name if self._is_wanted(name) else None

    def unused(self, used: Collection[int]) -> list[str]:
        """The paths of the ReLU modules that are wanted and whose id is not in ``used``."""
        return [
            path
            for key, (path, module) in self._paths.items()
            if isinstance(module, MODULES) and key not in used and self._is_wanted(path)
        ]

    def _is_wanted(self, name: str) -> bool:
        return (self._wanted is None or matches(name, self._wanted)) and not matches(name, self._unwanted)


def _walk(models: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for prefix, model in models.items():
        for path, module in model.named_modules():
            clean = _unwrapped(path)
            yield (f"{prefix}.{clean}" if prefix and clean else clean or prefix), module


def _unwrapped(path: str) -> str:
    for wrapper in (*WRAPPERS, *WRAPPERS):
        path = "" if path == wrapper[:-1] else path.removeprefix(wrapper)
    return path


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the glob patterns fits the name."""
    return any(fnmatch(name, pattern) for pattern in patterns)
