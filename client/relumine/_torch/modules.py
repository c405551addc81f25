"""Kinds of modules, their parameters, and the names of the activations in a model. Changes nothing in the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from types import CodeType
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from relumine._runtime.sendable import MAX_NAME, sendable_text
from relumine._torch.activations import Activation

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Models: TypeAlias = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]

RELU_MODULES = (nn.ReLU, nn.ReLU6)
NORM_MODULES = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)

# Prefixes that DataParallel, DistributedDataParallel and torch.compile add to the paths of modules.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")


def is_linear(module: nn.Module) -> bool:
    """Return True for a Linear or a convolution, whose output is linear in the input: the split is exact for it."""
    return isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))


def is_producer(module: nn.Module) -> bool:
    """Return True for a Linear, convolution or BatchNorm with torch's own forward.

    A subclass with a forward of its own (LoRA, quantisation) may compute something else.
    """
    has_type = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, _BatchNorm))
    return has_type and type(module).forward.__module__.startswith("torch.nn.modules")


def is_batch_norm(module: nn.Module) -> bool:
    """Return True for a BatchNorm, also one whose forward applies an activation as well."""
    return isinstance(module, _BatchNorm)


def has_forward_hooks(module: nn.Module) -> bool:
    """Return True if a module has forward hooks of its own, which may replace its output."""
    return bool(module._forward_hooks)  # noqa: SLF001 - torch has no public name for it


def is_channels_first(module: nn.Module) -> bool:
    """Return True if the units of the module's output lie along dimension 1."""
    return isinstance(module, (_ConvNd, _NormBase, nn.GroupNorm))


def has_units(module: nn.Module) -> bool:
    """Return True if it is known along which dimension of the module's output the units lie."""
    return is_channels_first(module) or isinstance(module, (nn.Linear, nn.LayerNorm))


def trained_weight(module: nn.Module) -> Tensor | None:
    """Return the parameter that an optimizer trains for a module's weight, or None.

    Reads registered parameters only: an attribute may be computed when it is read, as by a parametrization.
    """
    weight = registered_weight(module)
    if weight is not None:
        return weight
    # A parametrization keeps what it trains in a module of its own; weight_norm and its like, under other names.
    parametrizations = module._modules.get("parametrizations")  # noqa: SLF001 - the attribute may be computed
    holder = parametrizations._modules.get("weight") if parametrizations is not None else module  # noqa: SLF001 - as above
    entries = {} if holder is None else holder._parameters  # noqa: SLF001 - as above
    return next((entry for name, entry in entries.items() if entry is not None and name != "bias"), None)


def registered_bias(module: nn.Module) -> Tensor | None:
    """Return the bias, or the β of a BatchNorm, where it is a registered parameter."""
    return _registered(module, "bias")


def registered_weight(module: nn.Module) -> Tensor | None:
    """Return the weight where it is a registered parameter."""
    return _registered(module, "weight")


def _registered(module: nn.Module, name: str) -> Tensor | None:
    table = module._parameters  # noqa: SLF001 - as above; of a scripted module it is no dict
    return table[name] if name in table else None  # noqa: SIM401 - see above


def is_convolution(module: nn.Module) -> bool:
    """Return True for a convolution that is not transposed."""
    return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))


def as_convolution(module: nn.Module) -> Convolution:
    """Return the module, typed as a convolution.

    Raises:
        TypeError: the module is not a convolution.
    """
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        raise TypeError(f"no split for {type(module).__name__}")
    return module


def conv_padding(conv: Convolution) -> Sequence[int]:
    """Return the padding in the order of ``functional.pad``; ``padding="same"`` as numbers."""
    padding: Sequence[int] = conv._reversed_padding_repeated_twice  # noqa: SLF001 - no public name resolves "same"
    return padding


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that torch.compile wrapped, or the module itself."""
    original = getattr(model, "_orig_mod", None)
    return original if isinstance(original, nn.Module) else model


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the module inside DistributedDataParallel, DataParallel and torch.compile, in any order of nesting."""
    while True:
        inner = uncompiled(model)
        if inner is model and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if inner is model:
            return model
        model = inner


def named_models(model: Models) -> dict[str, nn.Module]:
    """Return one model, or a list or dict of them, by the prefix of their layers' names; a single one has none."""
    if isinstance(model, nn.Module):
        return {"": model}
    if isinstance(model, Mapping):
        return dict(model)
    return {str(index): module for index, module in enumerate(model)}


def linear_layers(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the Linear layers and convolutions with their names, as ``watch`` gives them."""
    names = ModuleNames(named_models(root), None, None)
    for module in names.modules():
        if is_producer(module) and is_linear(module):
            yield names.path(module), module


def as_patterns(layers: str | Iterable[str] | None) -> list[str]:
    """Return one or several glob patterns as a list; for None, the pattern that matches every name."""
    if layers is None:
        return ["*"]
    return [layers] if isinstance(layers, str) else list(layers)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return True if one of the glob patterns matches the name."""
    return any(fnmatch(name, pattern) for pattern in patterns)


class ModuleNames:
    """The paths of all modules of the watched models, and the names of the activations in them."""

    def __init__(
        self, models: Mapping[str, nn.Module], include: Iterable[str] | None, exclude: Iterable[str] | None
    ) -> None:
        self.models = list(models.values())
        self._paths = {id(module): (path, module) for path, module in _walk(models)}
        self._roots = [unwrap_model(model) for model in models.values()]
        self._include = None if include is None else list(include)
        self._exclude = list(exclude or ())

    @property
    def ids(self) -> Collection[int]:
        """The ids of all modules."""
        return self._paths.keys()

    def shares_model_with(self, other: ModuleNames) -> bool:
        """Return True if one of the models is among the other's, a part of one of them, or contains one.

        Models that only share a part, as two heads on one backbone do, are different models.
        """
        ours = {id(root) for root in self._roots}
        theirs = {id(root) for root in other._roots}
        return not (ours.isdisjoint(other.ids) and theirs.isdisjoint(self.ids))

    def modules(self) -> Iterator[nn.Module]:
        """Yield every module, outer modules first."""
        for _, module in self._paths.values():
            yield module

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every parameter that the models have now, once, without running code of the model."""
        seen: set[int] = set()
        for module in self.modules():
            # Not by ``parameters()``, which a model may override.
            for parameter in module._parameters.values():  # noqa: SLF001 - see above
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield parameter

    def parameter_ids(self) -> set[int]:
        """Return the ids of the parameters that the models have now."""
        return {id(parameter) for parameter in self.parameters()}

    def path(self, module: nn.Module) -> str:
        """Return the path of a module."""
        return self._paths[id(module)][0] or "model"

    def owner_of_method(self, code: CodeType, inner: int) -> nn.Module | None:
        """Return the ancestor, of the module with the id ``inner``, in whose class the code is a method."""
        if inner not in self._paths:
            return None
        inner_path = self._paths[inner][0]
        for path, module in self._paths.values():
            is_ancestor = not path or inner_path == path or inner_path.startswith(f"{path}.")
            if is_ancestor and _has_method(type(module), code):
                return module
        return None

    def activation_name(self, module: nn.Module, activation: Activation, call: int) -> str | None:
        """Return the name of the ``call``-th activation in a module's forward, or None if it is filtered out.

        A module that is itself an activation gives its path, any other its path and the name of the activation.
        """
        path = self._paths[id(module)][0]
        name = path
        if not path or not _is_leaf(module):
            name = f"{path}.{activation.name}".lstrip(".")
        if call > 1:
            name = f"{name}#{call}"
        return name if self._is_included(name) else None

    def unused_relus(self, used: Collection[int]) -> list[str]:
        """Return the paths of the ReLU modules that are not filtered out and whose id is not in ``used``."""
        return [
            path
            for module_id, (path, module) in self._paths.items()
            if isinstance(module, RELU_MODULES) and module_id not in used and self._is_included(path)
        ]

    def scripted(self) -> list[str]:
        """Return the paths of the outermost scripted or traced modules whose graph has a ReLU."""
        paths: list[str] = []
        for path, module in self._paths.values():
            is_inner = any(not outer or path.startswith(f"{outer}.") for outer in paths)
            if isinstance(module, torch.jit.ScriptModule) and not is_inner and _has_scripted_relu(module):
                paths.append(path)
        return [path or "model" for path in paths if self._is_included(path or "model")]

    def _is_included(self, name: str) -> bool:
        if self._include is not None and not matches(name, self._include):
            return False
        return not matches(name, self._exclude)


def _has_method(module_type: type, code: CodeType) -> bool:
    """Return True if the code is that of a method of the class, which may be decorated."""
    for base in module_type.__mro__:
        method = vars(base).get(code.co_name)
        while method is not None:
            if getattr(method, "__code__", None) is code:
                return True
            method = getattr(method, "__wrapped__", None)
    return False


def _has_scripted_relu(module: torch.jit.ScriptModule) -> bool:
    try:
        graph = str(module.inlined_graph)
    except (AttributeError, RuntimeError):  # a scripted module without a forward
        return False
    return any(f"aten::{name}" in graph for name in ("relu", "clamp_min", "threshold", "hardtanh"))


def _is_leaf(module: nn.Module) -> bool:
    """Return True if the module has neither children nor parameters."""
    return next(module.children(), None) is None and next(module.parameters(recurse=False), None) is None


def _walk(models: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of all models with their paths; the paths carry no trace of wrappers."""
    for prefix, model in models.items():
        for wrapped_path, module in model.named_modules():
            path = _sendable_path(_strip_wrappers(wrapped_path))
            if prefix and path:
                yield f"{prefix}.{path}", module
            else:
                yield path or prefix, module


def _sendable_path(path: str) -> str:
    # The activation's name and number follow it.
    return sendable_text(path, MAX_NAME - len(".leaky_relu#9999")) if path else path


def _strip_wrappers(path: str) -> str:
    # Twice, since a model may be wrapped by several wrappers in either order.
    for prefix in WRAPPER_PREFIXES * 2:
        path = "" if path == prefix.removesuffix(".") else path.removeprefix(prefix)
    return path
