"""Where the units of a layer come from and who reads them, heard during one forward by following their tensors.

A path begins at what a Linear or a convolution answers, may pass a BatchNorm, acts in one ReLU and ends in the layers
that read it. Whatever else touches it is a gap: what cannot be vouched for is named, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from relumine._activations import Activation, classify
from relumine._discover import Names
from relumine.remedies import _calls
from relumine.remedies._calls import Call


class Norm(NamedTuple):
    """A BatchNorm between a layer and its ReLU: what it read, and whether it went by the batch's own statistics."""

    read: Tensor
    gamma: nn.Parameter
    beta: nn.Parameter
    mean: Tensor | None
    var: Tensor | None
    eps: float
    batch: bool


@dataclass(slots=True, eq=False)
class Reader:
    """A Linear or convolution that reads the units: ``columns`` says of which unit each of its inputs is."""

    weight: nn.Parameter
    columns: Tensor

    def entries(self, units: Tensor) -> Tensor:
        """Which of its weights read one of ``units``: boolean, of the shape of ``weight``."""
        wanted = torch.isin(self.columns, units.to(self.columns.device, self.columns.dtype)).to(self.weight.device)
        outputs, inputs = self.weight.shape[:2]
        groups = len(wanted) // inputs
        by_output = wanted.view(groups, 1, inputs).expand(groups, outputs // groups, inputs).reshape(outputs, inputs)
        return by_output.view(outputs, inputs, *[1] * (self.weight.dim() - 2)).expand(self.weight.shape)


@dataclass(slots=True, eq=False)
class Path:
    """The units of one layer, and what was heard of them. ``site`` is the name of the ReLU they act in."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    units: int
    norm: Norm | None = None
    site: str | None = None
    readers: list[Reader] = field(default_factory=list)
    before: set[str] = field(default_factory=set)
    """What else reads the pre-activation: then it cannot be changed without changing that."""
    after: set[str] = field(default_factory=set)
    """What else reads the activation: then it is not known what depends on it."""


@dataclass(slots=True, eq=False)
class Trail:
    """A tensor on its way. ``stage``: 0 what the layer answered, 1 normalised, 2 after the ReLU."""

    tensor: Tensor
    version: int
    path: Path
    stage: int
    units: Tensor

    def is_gap(self, what: str) -> None:
        """Something that is not known to hand units on touched it."""
        (self.path.after if self.stage == 2 else self.path.before).add(what)


See = Callable[[str, Tensor, "Trail | None"], None]
"""Name of a ReLU, its pre-activation, and where that comes from."""


class Follower(TorchFunctionMode):
    """Hears every call of one forward and passes it on untouched."""

    def __init__(self, names: Names, parameters: Mapping[int, nn.Parameter], see: See) -> None:
        super().__init__()
        self.paths: list[Path] = []
        self.uses: Counter[int] = Counter()
        """In how many calls each parameter was used, by its id."""
        self._names, self._parameters, self._see = names, parameters, see
        self._trails: dict[int, Trail] = {}
        self._inside: list[nn.Module] = []
        self._acted: Counter[int] = Counter()

    def follow(self, model: nn.Module, call: Callable[[], Any]) -> Any:
        """Run ``call``, which is a forward of ``model``, and return what it returned."""
        handles = [
            register_module_forward_pre_hook(lambda module, _: self._inside.append(module)),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        self._inside.append(model)
        try:
            with self:
                result = call()
        finally:
            for handle in handles:
                handle.remove()
        for tensor in _calls.tensors_in(result):
            trail = self._trails.get(id(tensor))
            if trail is not None and trail.tensor is tensor:
                trail.is_gap("what the model returns")
        return result

    def _leave(self, *_: Any) -> None:
        self._inside.pop()

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _calls.call_of(func, args, kwargs or {})
        read = call.tensors()
        trails = [trail for tensor in read if (trail := self._trail(tensor)) is not None]
        activation = classify(func, args, call.kwargs)
        if activation is not None:
            self._act(activation, call, trails)
        result = func(*args, **call.kwargs)
        if call.only_looks(result):
            return result
        self.uses.update({id(tensor) for tensor in read if id(tensor) in self._parameters})
        made = self._next(call, activation, trails, result)
        for tensor in _calls.tensors_in(result):
            self._trails.pop(id(tensor), None)
        for trail in made:
            self._trails[id(trail.tensor)] = trail
        return result

    def _trail(self, tensor: Tensor) -> Trail | None:
        trail = self._trails.get(id(tensor))
        if trail is not None and trail.version != tensor._version:  # noqa: SLF001 - the in-place counter has no public name
            trail.is_gap("a change in place")
            return None
        return trail

    def _act(self, activation: Activation, call: Call, trails: list[Trail]) -> None:
        """Show a ReLU before it runs: it may change its argument in place."""
        module = self._inside[-1]
        self._acted[id(module)] += 1
        name = self._names.of_activation(module, activation, self._acted[id(module)]) if module in self._names else None
        z = call.argument(0, "input")
        if name is None or not activation.can_die or not isinstance(z, Tensor):
            return
        trail = trails[0] if len(trails) == 1 and trails[0].stage < 2 else None
        if trail is not None and trail.path.site is None and trail.stage == (trail.path.norm is not None):
            trail.path.site = name
        elif trail is not None:
            trail.is_gap("another ReLU")
        if not trails or trails[0].stage < 2:
            self._see(name, z, trail)

    def _next(self, call: Call, activation: Activation | None, trails: list[Trail], result: Any) -> list[Trail]:
        """The trails that go on in what the call made; where they do not, that is a gap in their paths."""
        if _calls.is_layer(call):
            return self._layer(call, trails, result)
        made: list[Trail] = []
        if len(trails) == 1 and trails[0].tensor is call.argument(0, "input"):
            made = self._go_on(call, activation, trails[0], result)
        if not made:
            for trail in trails:
                trail.is_gap(call.name or "an unknown call")
        return made

    def _go_on(self, call: Call, activation: Activation | None, trail: Trail, result: Any) -> list[Trail]:
        path, units = trail.path, trail.units
        if activation is not None and activation.can_die and trail.stage in (2, int(path.norm is not None)):
            return [_on(result, path, 2, units)]
        if call.name in _calls.NORMS and trail.stage == 0 and _calls.unit_dim(units, path.units) == 1:
            path.norm = self._norm(call)
            return [] if path.norm is None else [_on(result, path, 1, units)]
        if trail.stage == 2 or call.name in _calls.MOVES:
            return [_on(tensor, path, trail.stage, where) for tensor, where in _calls.moved(call, units, result)]
        return []

    def _layer(self, call: Call, trails: list[Trail], result: Tensor) -> list[Trail]:
        """A layer reads its first argument, and begins a path of its own."""
        weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
        for trail in trails:
            reader = self._reader(trail, weight) if trail.tensor is call.argument(0, "input") else None
            if reader is None:
                trail.is_gap(call.name)
            else:
                trail.path.readers.append(reader)
        known = id(weight) in self._parameters and (bias is None or id(bias) in self._parameters)
        if not known or result.dim() < 2 or (weight.dim() > 2 and result.dim() != weight.dim()):
            return []
        path = Path(weight, bias, weight.shape[0])
        self.paths.append(path)
        units = _calls.new_map(result, path.units, -1 if weight.dim() == 2 else 1)
        return [_on(result, path, 0, units)]

    def _reader(self, trail: Trail, weight: Tensor) -> Reader | None:
        parameter = self._parameters.get(id(weight))
        if trail.stage < 2 or parameter is None or (weight.dim() > 2 and trail.units.dim() != weight.dim()):
            return None
        columns = _calls.columns(trail.units, -1 if weight.dim() == 2 else 1)
        return None if columns is None else Reader(parameter, columns)

    def _norm(self, call: Call) -> Norm | None:
        gamma = self._parameters.get(id(call.argument(3, "weight")))
        beta = self._parameters.get(id(call.argument(4, "bias")))
        if gamma is None or beta is None:
            return None
        eps = call.argument(7, "eps")
        mean, var = call.argument(1, "running_mean"), call.argument(2, "running_var")
        return Norm(
            call.argument(0, "input"),
            gamma,
            beta,
            mean,
            var,
            1e-5 if eps is None else eps,
            bool(call.argument(5, "training")),
        )


def _on(tensor: Tensor, path: Path, stage: int, units: Tensor) -> Trail:
    return Trail(tensor, tensor._version, path, stage, units)  # noqa: SLF001 - as above
