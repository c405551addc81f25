"""Running a model on inputs to see which units fire, where they come from and who reads them; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from relumine import _reduce, _shift
from relumine._compiled import Stance
from relumine._discover import Names, named_models
from relumine._origin import is_producer
from relumine._untouched import untouched
from relumine.remedies import _calls
from relumine.remedies._paths import Follower, Path, Reader, See, Trail

Batch: TypeAlias = Tensor | tuple[Any, ...] | Mapping[str, Any]
Inputs: TypeAlias = Batch | Iterable[Batch]

UNREAD = "nothing that was seen"
SUMS = frozenset({"add", "iadd", "sub", "isub"})
ELSEWHERE = "its weights are used elsewhere too"


@dataclass(slots=True, eq=False)
class Found:
    """One ReLU on all inputs. ``active`` counts, per unit, the outputs above 0 of ``outputs`` in all."""

    name: str
    active: Tensor
    outputs: int = 0
    finite: bool = True
    path: Path | None = None
    readers: dict[int, Reader] = field(default_factory=dict)
    sums: bool = False
    """Whether it reads a sum of layers, or one of layers reads it."""
    faults: set[str] = field(default_factory=set)
    """Why its units cannot be changed; empty where they can."""
    unknown: set[str] = field(default_factory=set)
    """What else reads its units than the layers known; empty where those are all."""

    @property
    def dead(self) -> Tensor:
        """The units that are active nowhere, shape (any,); none where the ReLU read no finite number."""
        return (self.active == 0).nonzero().flatten() if self.finite else self.active.new_zeros(0)

    def rate(self, units: Tensor) -> float:
        """The share of outputs on which these units are active."""
        return float(self.active[units].double().mean()) / self.outputs if len(units) and self.outputs else 0.0


def inner(model: nn.Module) -> nn.Module:
    """The module within DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        wrapped = getattr(model, "_orig_mod", None)
        if wrapped is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            wrapped = model.module
        if not isinstance(wrapped, nn.Module):
            return model
        model = wrapped


def linear_layers(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers and convolutions by their names, as ``watch`` gives them."""
    names = Names(named_models(root), None, None)
    for module in names.modules():
        if is_producer(module) and _shift.is_linear(module):
            yield names.of(module), module


def batches_of(inputs: Inputs) -> tuple[Batch, ...]:
    """The batches: one tensor, tuple of arguments or mapping of keyword arguments, or several of them.

    Raises:
        ValueError: there is none.
        TypeError: a batch is something else.
    """
    batches = (inputs,) if isinstance(inputs, (Tensor, tuple, Mapping)) else tuple(inputs)
    if not batches:
        raise ValueError("the inputs hold no batch")
    for batch in batches:
        if not isinstance(batch, (Tensor, tuple, Mapping)):
            raise TypeError(
                f"a batch is a tensor, a tuple of arguments or a mapping of keyword arguments, not a "
                f"{type(batch).__name__}; of a loader that gives pairs pass (x for x, _ in loader)"
            )
    return batches


class Survey:
    """A model and inputs. Every forward has the same random numbers, and the modes that the model is in."""

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self.model, self.batches = inner(model), batches_of(inputs)
        self._seed = torch.initial_seed()
        self.names = Names(named_models(self.model), None, None)
        self.parameters = {id(one): one for one in self.model.parameters()}
        self.labels = {id(one): name for name, one in self.model.named_parameters()}
        self.labels |= {id(one): name for name, one in self.model.named_buffers()}

    def look(self) -> tuple[dict[str, Found], list[Tensor]]:
        """Every ReLU by its name, in order of use, and what the model returned for the first batch."""
        found: dict[str, Found] = {}

        def see(name: str, z: Tensor, trail: Trail | None) -> None:
            _count(found, name, z, trail)

        first: list[Tensor] = []
        for index, (follower, output) in enumerate(self._forwards(see)):
            if not index:
                first = [one.detach().clone() for one in _calls.tensors_in(output) if one.is_floating_point()]
            for one in found.values():
                if one.path is not None:
                    _judge(one, one.path, follower)
        return found, first

    def watch(self, see: See) -> None:
        """Show every ReLU's pre-activation on all inputs."""
        for _ in self._forwards(see):
            pass

    def _forwards(self, see: See) -> Iterator[tuple[Follower, Any]]:
        for batch in self.batches:
            follower = Follower(self.names, self.parameters, see)
            with untouched(self.model), _eagerly(), torch.enable_grad():
                torch.default_generator.manual_seed(self._seed)
                torch.cuda.manual_seed_all(self._seed)
                torch.clear_autocast_cache()  # it holds weights as they were
                output = follower.follow(self.model, _calling(self.model, batch))
            yield follower, output


def _count(found: dict[str, Found], name: str, z: Tensor, trail: Trail | None) -> None:
    """Add what one ReLU read."""
    known = _calls.unit_dim(trail.units, trail.path.units) if trail is not None else None
    dim = _reduce.unit_dim(z, channels_first=z.dim() > 3) if known is None else known
    lines = z.detach().movedim(dim, -1).reshape(-1, z.shape[dim])
    one = found.setdefault(name, Found(name, torch.zeros(lines.shape[1], dtype=torch.long)))
    one.outputs += len(lines)
    one.active += (lines > 0).sum(0).cpu()
    one.finite = one.finite and bool(lines.isfinite().all())
    if trail is None or known is None:
        one.sums = one.sums or (z.grad_fn is not None and z.grad_fn.name().startswith("AddBackward"))
        one.faults.add("it is not known which layer made its pre-activation")
    elif one.path is not None and one.path.weight is not trail.path.weight:
        one.faults.add("another layer made its pre-activation on other inputs")
    else:
        one.path = trail.path


def _judge(one: Found, path: Path, follower: Follower) -> None:
    """Whether its units can be changed, and whether all who read them are known."""
    own = [path.weight, path.bias, *((path.norm.gamma, path.norm.beta) if path.norm else ())]
    if any(follower.uses[id(parameter)] > 1 for parameter in own if parameter is not None):
        one.faults.add(ELSEWHERE)
    if not all(_shift.is_plain(parameter) for parameter in own if parameter is not None):
        one.faults.add("its weights are sharded over processes")
    if not all(parameter.requires_grad for parameter in own if parameter is not None):
        one.faults.add("its weights are frozen")
    if path.site != one.name or path.before:
        one.faults.add(f"its pre-activation is read by {', '.join(sorted(path.before)) or 'another ReLU'} too")
    one.readers |= {id(reader.weight): reader for reader in path.readers}
    one.unknown |= path.after
    one.sums = one.sums or not SUMS.isdisjoint(path.after | path.before)
    one.unknown |= set() if path.readers else {UNREAD}
    if any(follower.uses[id(reader.weight)] > 1 for reader in path.readers):
        one.unknown.add("a layer whose weights are used elsewhere too")
    if not all(reader.weight.requires_grad for reader in path.readers):
        one.unknown.add("a layer whose weights are frozen")


@contextmanager
def _eagerly() -> Iterator[None]:
    stance = Stance()
    stance.eager()
    try:
        yield
    finally:
        stance.restore()


def _calling(model: nn.Module, batch: Batch) -> Callable[[], Any]:
    if isinstance(batch, Mapping):
        return lambda: model(**batch)
    return (lambda: model(*batch)) if isinstance(batch, tuple) else (lambda: model(batch))


def difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> float | None:
    """The largest absolute difference between two outputs; None where they cannot be compared."""
    if not before or [one.shape for one in before] != [one.shape for one in after]:
        return None
    return max(float((a.double() - b.double()).abs().max()) for a, b in zip(before, after, strict=True) if a.numel())


def size(output: Sequence[Tensor]) -> float:
    """The largest absolute number in an output; infinite where its type is coarser than float32."""
    if any(torch.finfo(one.dtype).eps > 1e-6 for one in output):
        return float("inf")
    return max((float(one.abs().max()) for one in output if one.numel()), default=0.0)
