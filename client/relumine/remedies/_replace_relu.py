"""Replacement of ReLUs by an activation that cannot die."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from relumine._runtime.text import join_names, plural
from relumine._torch.compile import is_compiled
from relumine._torch.modules import ModuleNames, as_patterns, matches, named_models, uncompiled, unwrap_model
from relumine._torch.optimizers import unwrap_optimizer
from relumine.alert_actions import Change, RemedyResult
from relumine.remedies import _fx_rewrite
from relumine.remedies._fx_rewrite import TracedForward, UntraceableError
from relumine.remedies._replacement_name import ReplacementName, name_and_slope

MODULES: dict[str, Callable[[float, bool], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "prelu": lambda slope, _inplace: AutocastPReLU(init=slope),
    "elu": lambda _slope, inplace: nn.ELU(inplace=inplace),
    "gelu": lambda _slope, _inplace: nn.GELU(),
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
}
RELU_SPELLINGS = frozenset({"relu", "relu_"})
CLAMP_SPELLINGS = frozenset({"clamp", "clamp_", "clamp_min", "clamp_min_", "clip", "threshold", "threshold_"})
MAX_RELUS_PER_FORWARD = 99  # numbers of ReLUs in one forward that a glob pattern is tried on

RECOMPILES = "compiled code is recompiled at its next call"
FIXED_ATTRIBUTES = (
    "numbers that a rewritten forward reads from attributes are fixed from now on; save such a model by its state dict"
)
SLOPES_NOT_TRAINED = "no optimizer was given: the new slopes are not trained"


class AutocastPReLU(nn.PReLU):
    """A PReLU that accepts the types that autocast produces."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the activation of ``input``, in its type."""
        return prelu(input, self.weight)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Return the PReLU of ``x``, in its type."""
    return functional.prelu(x, weight.to(x.dtype))


@dataclass(frozen=True, slots=True)
class ReluSite:
    """One ReLU to be replaced: a module, a function in an attribute, or a call in a forward.

    ``replace`` replaces it and returns the slope that this added, if any.
    """

    name: str
    replace: Callable[[], nn.Parameter | None]
    traced: TracedForward | None = None


def replace_relu_(
    model: nn.Module,
    activation: ReplacementName | nn.Module | type[nn.Module] = "leaky_relu",
    *,
    layers: str | Iterable[str] | None = None,
    negative_slope: float | None = None,
    optimizer: Optimizer | None = None,
) -> RemedyResult:
    """Replace ReLUs by another activation, in place: the model, its parameters and their names stay.

    Modules are replaced. Function calls (``F.relu``, ``torch.relu``, ``x.relu()``, ``clamp(min=0)``) are replaced where
    torch.fx can record the forward of their module faithfully; otherwise an error names the layer. With ``prelu`` and
    ``negative_slope=0`` the output stays exactly the same, and so it does with ``leaky_relu`` and ``prelu`` wherever no
    pre-activation is negative. Under DistributedDataParallel every process must call this.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel (not for ``prelu``) or torch.compile.
        activation: ``leaky_relu``, ``prelu`` (one slope per layer, which is trained), ``elu`` or ``gelu``, or torch's
            module of it, such as ``nn.LeakyReLU`` or ``nn.LeakyReLU(0.1)``.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        negative_slope: slope of ``leaky_relu``, and initial slope of ``prelu``; by default that of a given module, else
            0.01.
        optimizer: the optimizer that will train the slopes of ``prelu``: they join the group with the least weight
            decay.

    Raises:
        ValueError: there is no such activation or layer, a function call cannot be replaced, or slopes would be added
            under DistributedDataParallel. Nothing was changed then.
    """
    optimizer = None if optimizer is None else unwrap_optimizer(optimizer)
    name, own_slope = name_and_slope(activation)
    _require_supported(model, name)
    slope = own_slope if negative_slope is None else negative_slope
    replacement = Replacement(unwrap_model(model), name, slope)
    notes: list[str] = []
    sites = _matching_sites(replacement, layers, notes)
    slopes = _replace_sites(sites)
    changes = [Change(layer, "activation", None, "relu", str(replacement)) for layer in slopes]
    if any(site.traced is not None for site in sites):
        notes.append(FIXED_ATTRIBUTES)
    if is_compiled(model.modules()):
        notes.append(RECOMPILES)
    parameters = {layer: added for layer, added in slopes.items() if added is not None}
    if parameters and optimizer is not None:
        changes.append(_add_to_optimizer(optimizer, parameters))
    elif parameters:
        warnings.warn(SLOPES_NOT_TRAINED, stacklevel=2)
        notes.append(SLOPES_NOT_TRAINED)
    text = f"{plural(len(slopes), 'ReLU')} → {replacement}: {join_names(list(slopes))}"
    return RemedyResult("replace_relu_", replacement.value, text, tuple(changes), tuple(notes))


def _require_supported(model: nn.Module, activation: str) -> None:
    if activation not in MODULES:
        raise ValueError(f"{activation!r} is not one of {', '.join(MODULES)}")
    if activation == "prelu" and isinstance(uncompiled(model), DistributedDataParallel):
        raise ValueError("DistributedDataParallel does not synchronize new parameters: replace before wrapping")


def _replace_sites(sites: Iterable[ReluSite]) -> dict[str, nn.Parameter | None]:
    """Replace the ReLUs; return the slope that each one added, if any, by its name."""
    slopes: dict[str, nn.Parameter | None] = {}
    rewritten: dict[int, TracedForward] = {}
    for site in sites:
        slopes[site.name] = site.replace()
        if site.traced is not None:
            rewritten[id(site.traced)] = site.traced
    for traced in rewritten.values():
        _fx_rewrite.install_forward(traced)
    return slopes


@dataclass(frozen=True, slots=True)
class Replacement:
    """The activation that replaces the ReLUs of the model ``root``."""

    root: nn.Module
    activation: ReplacementName
    slope: float

    @property
    def value(self) -> float | None:
        """The slope, of an activation that has one."""
        return self.slope if self.activation in ("leaky_relu", "prelu") else None

    def __str__(self) -> str:
        return self.activation if self.value is None else f"{self.activation}({self.slope:g})"

    def new_module(self, neighbor: nn.Module, *, inplace: bool) -> nn.Module:
        """Return the activation in the mode of ``neighbor``, on its device and in its type."""
        module = MODULES[self.activation](self.slope, inplace).train(neighbor.training)
        for parameter in (*neighbor.parameters(), *self.root.parameters()):
            if parameter.is_floating_point():
                return module.to(device=parameter.device, dtype=parameter.dtype)
        return module

    def replace_module(self, relu: nn.ReLU) -> nn.Parameter | None:
        """Replace a module wherever the model uses it; return the new slope, if any."""
        module = self.new_module(relu, inplace=relu.inplace)
        for parent in list(self.root.modules()):
            for key, child in list(parent.named_children()):
                if child is relu:
                    setattr(parent, key, module)
        return next(module.parameters(), None)

    def replace_attribute(self, owner: nn.Module, key: str) -> nn.Parameter | None:
        """Replace a function in an attribute, such as in torch's transformer layers; return the new slope, if any."""
        module = self.new_module(owner, inplace=False)
        delattr(owner, key)
        setattr(owner, key, module)
        if hasattr(owner, "activation_relu_or_gelu"):
            vars(owner)["activation_relu_or_gelu"] = 0  # torch's fast path supports these two only
        return next(module.parameters(), None)

    def replace_call(self, traced: TracedForward, number: int) -> nn.Parameter | None:
        """Replace an activation in the graphs of a recorded forward; return the new slope, if any."""
        if self.activation == "prelu":
            name = f"negative_slope_{number}"
            slope = next(self.new_module(traced.module, inplace=False).parameters())
            traced.module.register_parameter(name, slope)
            for node in traced.relus[number]:
                _fx_rewrite.replace_node(node, prelu, {}, name)
            return slope
        arguments = {"negative_slope": self.slope} if self.activation == "leaky_relu" else {}
        for node in traced.relus[number]:
            _fx_rewrite.replace_node(node, FUNCTIONS[self.activation], arguments, None)
        return None


def _matching_sites(replacement: Replacement, layers: str | Iterable[str] | None, notes: list[str]) -> list[ReluSite]:
    """Return the ReLUs whose name matches; add a note for each forward that could not be searched.

    Raises:
        ValueError: there is none, or one that matches cannot be replaced.
    """
    patterns = as_patterns(layers)
    sites = [site for site in _relu_sites(replacement, patterns, notes) if matches(site.name, patterns)]
    if not sites:
        raise ValueError("no ReLU to replace" if layers is None else f"no ReLU is called {join_names(patterns)}")
    return sites


def _relu_sites(replacement: Replacement, patterns: list[str], notes: list[str]) -> Iterator[ReluSite]:
    root = replacement.root
    names = ModuleNames(named_models(root), None, None)
    for module in names.modules():
        name = names.path(module)
        if not isinstance(module, nn.ReLU):
            path = "" if name == "model" and module is root else name
            yield from _function_sites(replacement, module, path, patterns, notes)
        elif module is root:
            raise ValueError("the model itself is a ReLU: it has no parent module to replace it in")
        else:
            yield ReluSite(name, partial(replacement.replace_module, module))


def _function_sites(
    replacement: Replacement, module: nn.Module, path: str, patterns: list[str], notes: list[str]
) -> Iterator[ReluSite]:
    """Yield the ReLUs that a module keeps as functions in attributes, and those that its forward calls."""
    for key, value in list(vars(module).items()):
        if value is functional.relu or value is torch.relu:
            yield ReluSite(_relu_name(path, 1), partial(replacement.replace_attribute, module, key))
    traced = _trace(module, path, patterns, notes)
    if traced is not None:
        for number in traced.relus:
            yield ReluSite(_relu_name(path, number), partial(replacement.replace_call, traced, number), traced)


def _relu_name(path: str, number: int) -> str:
    """Return the name of the ``number``-th activation that a module calls as a function, as ``watch`` gives it."""
    name = f"{path}.relu".lstrip(".")
    return name if number == 1 else f"{name}#{number}"


def _trace(module: nn.Module, path: str, patterns: list[str], notes: list[str]) -> TracedForward | None:
    """Record the module's forward if it may call ReLUs that match.

    Raises:
        ValueError: it calls ReLUs and cannot be recorded.
    """
    calls_relu = _fx_rewrite.uses_name(module, RELU_SPELLINGS)
    if not calls_relu and not _fx_rewrite.uses_name(module, CLAMP_SPELLINGS):
        return None
    if not any(matches(_relu_name(path, number), patterns) for number in range(1, MAX_RELUS_PER_FORWARD + 1)):
        return None
    try:
        return _fx_rewrite.trace(module)
    except UntraceableError as error:
        if calls_relu:
            raise ValueError(
                f"{_relu_name(path, 1)} is called as a function and cannot be replaced: {error}. Use nn.ReLU there"
            ) from None
        notes.append(f"{path or 'model'} was not searched for calls of clamp and threshold: {error}")
        return None


def _add_to_optimizer(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> Change:
    """Add parameters to the group with the least weight decay: a new group would not fit the schedulers."""
    decays = [float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups]
    index = decays.index(min(decays))
    group = optimizer.param_groups[index]
    previous = len(group["params"])
    group["params"] += parameters.values()
    if "param_names" in group:
        group["param_names"] += [f"{name}.negative_slope" for name in parameters]
    return Change(f"group {index}", "params", None, previous, len(group["params"]))
