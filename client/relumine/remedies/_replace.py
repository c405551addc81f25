"""Putting an activation that cannot die in the place of ReLUs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from relumine._applied import Applied, Change, listed, plural
from relumine._compiled import is_compiled
from relumine._discover import Names, matches, named_models
from relumine.remedies import _traced
from relumine.remedies._survey import inner
from relumine.remedies._traced import CannotTrace, Traced

Activation: TypeAlias = Literal["leaky_relu", "prelu", "elu", "gelu"]

MODULES: dict[str, Callable[[float, bool], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "prelu": lambda slope, _: Slope(init=slope),
    "elu": lambda _, inplace: nn.ELU(inplace=inplace),
    "gelu": lambda _, _inplace: nn.GELU(),
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
}
SPELLINGS = frozenset({"relu", "relu_"})
OTHER_SPELLINGS = frozenset({"clamp", "clamp_", "clamp_min", "clamp_min_", "clip", "threshold", "threshold_"})
AGAIN = "compiled code is compiled again at its next call"
FIXED = "numbers that its forward reads from attributes are fixed from now on, and it is saved by its state dict alone"
UNTOLD = "no optimizer was given: it does not train the new slopes"


class Slope(nn.PReLU):
    """PReLU that takes what autocast gives it."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """The activation of ``input``, in its own type."""
        return prelu(input, self.weight)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """PReLU in the type of ``x``."""
    return functional.prelu(x, weight.to(x.dtype))


@dataclass(slots=True)
class _Place:
    """One ReLU to be replaced: a module, what a module keeps as a function, or calls in a forward."""

    name: str
    put: Callable[[], list[nn.Parameter]]
    traced: Traced | None = None


def replace_relu_(
    model: nn.Module,
    activation: Activation = "leaky_relu",
    *,
    layers: str | Iterable[str] | None = None,
    negative_slope: float = 0.01,
    optimizer: Optimizer | None = None,
) -> Applied:
    """Put another activation in the place of ReLUs, in place: the model, its parameters and their names stay.

    Modules are exchanged. Functions (``F.relu``, ``torch.relu``, ``x.relu()``, ``clamp(min=0)``) are exchanged where
    torch.fx can take their module's forward down faithfully; where not, an error names the layer. With ``prelu`` and
    ``negative_slope=0`` the output stays exactly what it is, and so it does wherever no pre-activation is negative with
    ``leaky_relu`` and ``prelu``. Under DistributedDataParallel every process must call this.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel (not for ``prelu``) or torch.compile.
        activation: ``leaky_relu``, ``prelu`` (one slope per layer, which is trained), ``elu`` or ``gelu``.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        negative_slope: of ``leaky_relu``; of ``prelu``, at the start.
        optimizer: learns of the slopes of ``prelu``: they join the group with the least weight decay.

    Raises:
        ValueError: there is no such activation or layer, a function cannot be reached, or slopes were to be added under
            DistributedDataParallel. Nothing was changed then.
    """
    if activation not in MODULES:
        raise ValueError(f"{activation!r} is none of {', '.join(MODULES)}")
    if activation == "prelu" and isinstance(getattr(model, "_orig_mod", model), DistributedDataParallel):
        raise ValueError("DistributedDataParallel does not learn of new parameters: replace before wrapping")
    patterns = None if layers is None else [layers] if isinstance(layers, str) else list(layers)
    root = inner(model)
    notes: list[str] = []
    places = [one for one in _places(root, patterns, activation, negative_slope, notes) if _wanted(one.name, patterns)]
    if not places:
        raise ValueError("no ReLU to replace" if patterns is None else f"no ReLU is called {listed(patterns)}")
    slopes = {place.name: place.put() for place in places}
    for traced in {id(place.traced): place.traced for place in places if place.traced is not None}.values():
        _traced.graft(traced)
    notes += [FIXED] if any(place.traced is not None for place in places) else []
    notes += [AGAIN] if is_compiled(model.modules()) else []
    return _applied(activation, negative_slope, slopes, optimizer, notes)


def _wanted(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or matches(name, patterns)


def _places(
    root: nn.Module, patterns: list[str] | None, activation: Activation, slope: float, notes: list[str]
) -> Iterator[_Place]:
    names = Names(named_models(root), None, None)
    for module in names.modules():
        path = names.of(module)
        own = "" if path == "model" and module is root else path
        if isinstance(module, nn.ReLU):
            if module is root:
                raise ValueError("the model itself is a ReLU: there is no place to put another one")
            yield _Place(path, _exchange(root, module, activation, slope))
            continue
        for key, value in list(vars(module).items()):
            if value is functional.relu or value is torch.relu:
                yield _Place(f"{own}.relu".lstrip("."), _keep(root, module, key, activation, slope))
        traced = _trace(module, own, patterns, notes)
        for k in traced.relus if traced is not None else ():
            name = f"{own}.relu".lstrip(".") + (f"#{k}" if k > 1 else "")
            yield _Place(name, _call(root, traced, k, activation, slope), traced)


def _trace(module: nn.Module, path: str, patterns: list[str] | None, notes: list[str]) -> Traced | None:
    """Its forward, where it may hold ReLUs that are wanted; ValueError where it does and cannot be taken down."""
    surely = _traced.mentions(module, SPELLINGS)
    names = [f"{path}.relu{number}".lstrip(".") for number in ("", *(f"#{k}" for k in range(2, 100)))]
    if not (surely or _traced.mentions(module, OTHER_SPELLINGS)) or not any(_wanted(name, patterns) for name in names):
        return None
    try:
        return _traced.trace(module)
    except CannotTrace as error:
        name = names[0]
        if surely:
            raise ValueError(
                f"{name} is called as a function and cannot be replaced: {error}. Use nn.ReLU there"
            ) from None
        notes.append(f"{path or 'model'} was not looked into for ReLUs in other words: {error}")
        return None


def _exchange(root: nn.Module, relu: nn.ReLU, activation: Activation, slope: float) -> Callable[[], list[nn.Parameter]]:
    def put() -> list[nn.Parameter]:
        new = _new(root, relu, activation, slope, inplace=relu.inplace)
        for parent in list(root.modules()):
            for key, child in list(parent.named_children()):
                if child is relu:
                    setattr(parent, key, new)
        return list(new.parameters())

    return put


def _keep(
    root: nn.Module, module: nn.Module, key: str, activation: Activation, slope: float
) -> Callable[[], list[nn.Parameter]]:
    """Of what a module keeps as a function in an attribute, such as torch's transformer layers."""

    def put() -> list[nn.Parameter]:
        new = _new(root, module, activation, slope, inplace=False)
        delattr(module, key)
        setattr(module, key, new)
        if hasattr(module, "activation_relu_or_gelu"):
            vars(module)["activation_relu_or_gelu"] = 0  # torch's fast path knows these two only
        return list(new.parameters())

    return put


def _call(
    root: nn.Module, traced: Traced | None, k: int, activation: Activation, slope: float
) -> Callable[[], list[nn.Parameter]]:
    def put() -> list[nn.Parameter]:
        if traced is None:
            return []
        name, parameters = None, []
        if activation == "prelu":
            name = f"negative_slope_{k}"
            parameters = list(_new(root, traced.module, activation, slope, inplace=False).parameters())
            traced.module.register_parameter(name, parameters[0])
        arguments = {"negative_slope": slope} if activation == "leaky_relu" else {}
        for node in traced.relus[k]:
            _traced.put(node, prelu if name else FUNCTIONS[activation], arguments, name)
        return parameters

    return put


def _new(root: nn.Module, near: nn.Module, activation: Activation, slope: float, *, inplace: bool) -> nn.Module:
    """The activation, in the mode of ``near``, on the device and in the type of the model."""
    new = MODULES[activation](slope, inplace).train(near.training)
    like = next((one for one in (*near.parameters(), *root.parameters()) if one.is_floating_point()), None)
    return new if like is None else new.to(device=like.device, dtype=like.dtype)


def _applied(
    activation: Activation,
    slope: float,
    slopes: dict[str, list[nn.Parameter]],
    optimizer: Optimizer | None,
    notes: list[str],
) -> Applied:
    value = slope if activation in ("leaky_relu", "prelu") else None
    told = activation if value is None else f"{activation}({slope:g})"
    changes = [Change(name, "activation", None, "relu", told) for name in slopes]
    new = {name: one for name, parameters in slopes.items() for one in parameters}
    if new and optimizer is None:
        warnings.warn(UNTOLD, stacklevel=3)
        notes.append(UNTOLD)
    elif new and optimizer is not None:
        changes.append(_tell(optimizer, new))
    text = f"{plural(len(slopes), 'ReLU')} → {told}: {listed(list(slopes))}"
    return Applied("replace_relu", value, text, tuple(changes), tuple(notes))


def _tell(optimizer: Optimizer, new: dict[str, nn.Parameter]) -> Change:
    """Add parameters to a group that there is: schedulers count the groups."""
    decays = [float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups]
    index = decays.index(min(decays))
    group = optimizer.param_groups[index]
    before = len(group["params"])
    group["params"] += new.values()
    if "param_names" in group:
        group["param_names"] += [f"{name}.negative_slope" for name in new]
    return Change(f"group {index}", "params", None, before, len(group["params"]))
