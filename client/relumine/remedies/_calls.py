"""Which calls of torch hand a unit's activation on, and how. Pure: looks at a function, its arguments and its result.

A map of units is an integer tensor of an activation's shape that holds at each place which unit it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from relumine._chains import DROPOUTS, LAYERS, POOLS, RESHAPES

MOVES = RESHAPES | {
    *(
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "swapaxes",
        "movedim",
        "squeeze",
        "unsqueeze",
        "getitem",
        "narrow",
    ),
    *("select", "chunk", "split", "unbind", "clone", "alias", "expand", "expand_as", "repeat", "flip", "roll"),
}
"""What puts the same numbers elsewhere: done to the map of units alike."""
KEEPS = DROPOUTS | {"to", "float", "half", "bfloat16", "double", "type_as", "cuda", "cpu", "detach"}
"""What leaves every number in its place, and 0 at 0."""
NORMS = frozenset({"batch_norm"})
LOOKS = frozenset(
    {"get", "size", "dim", "ndimension", "len", "numel", "nelement", "stride", "is_contiguous", "is_floating_point"}
    | {"get_device", "data_ptr", "element_size", "hash", "requires_grad", "retain_grad", "type", "storage_offset"}
    | {"is_complex", "untyped_storage", "register_hook", "is_nonzero_static", "has_names", "repr", "format"}
)
"""What asks for no number."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of torch."""

    name: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def argument(self, place: int, name: str) -> Any:
        """An argument by its place or its name; None where it is not given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, in lists and dicts too."""
        return tensors_in((self.args, self.kwargs))

    def only_looks(self, result: Any) -> bool:
        """Whether it asks for a shape or the like: nothing that depends on the numbers comes out of it."""
        return self.name in LOOKS and not tensors_in(result)


def call_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """A call as the function mode hears it; its input comes first, however it was given."""
    if not args and "input" in kwargs:
        args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
    return Call(getattr(function, "__name__", "").strip("_"), function, args, kwargs)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in a value: in tuples, lists, dicts, and what an object keeps."""
    leaves = tree_leaves(value)
    inner = [
        one for leaf in leaves if not isinstance(leaf, Tensor) for one in tree_leaves(getattr(leaf, "__dict__", ()))
    ]
    return [leaf for leaf in (*leaves, *inner) if isinstance(leaf, Tensor)]


def new_map(answer: Tensor, units: int, dim: int) -> Tensor:
    """The map of what a layer answered, whose units lie in dimension ``dim``."""
    shape = [1] * answer.dim()
    shape[dim] = units
    return torch.arange(units, dtype=torch.int32, device=answer.device).view(shape).expand(answer.shape)


def moved(call: Call, units: Tensor, result: Any) -> list[tuple[Tensor, Tensor]]:
    """What the call hands on, each with its map; nothing where it is not known to hand on.

    ``units`` is the map of its first argument.
    """
    try:
        if call.name in MOVES:
            where = tree_leaves(call.function(units, *call.args[1:], **call.kwargs))
            return list(zip(tensors_in(result), where, strict=True))
        return _kept(call, units, result) if isinstance(result, Tensor) else []
    except (RuntimeError, TypeError, ValueError, IndexError):  # a spelling that a map of integers does not take
        return []


def _kept(call: Call, units: Tensor, result: Tensor) -> list[tuple[Tensor, Tensor]]:
    if call.name in KEEPS and result.shape == units.shape:
        return [(result, units)]
    if call.name in POOLS and result.dim() == units.dim():
        channels = columns(units, 1)
        return (
            [] if channels is None else [(result, channels.view(1, -1, *[1] * (result.dim() - 2)).expand(result.shape))]
        )
    if call.name == "mean" and (averaged := _mean(call, units)) is not None and averaged.shape == result.shape:
        return [(result, averaged)]
    return []


def _mean(call: Call, units: Tensor) -> Tensor | None:
    """The map after a mean that mixes no units: only then the mean of the squares is the square of the mean."""
    kwargs = {key: value for key, value in call.kwargs.items() if key != "dtype"}
    numbers = units.double()
    mean = call.function(numbers, *call.args[1:], **kwargs)
    unmixed = torch.allclose(call.function(numbers.square(), *call.args[1:], **kwargs), mean.square(), rtol=1e-9)
    return mean.round().int() if unmixed else None


def columns(units: Tensor, dim: int) -> Tensor | None:
    """Which unit each place of dimension ``dim`` is of, shape (places,); None where it differs along the others."""
    lines = units.movedim(dim, -1).reshape(-1, units.shape[dim])
    return lines[0] if len(lines) and bool((lines == lines[0]).all()) else None


def unit_dim(units: Tensor, count: int) -> int | None:
    """The dimension along which all units lie side by side in their order; None where there is none."""
    for dim in range(units.dim()):
        found = columns(units, dim) if units.shape[dim] == count else None
        if found is not None and bool((found == torch.arange(count, device=found.device)).all()):
            return dim
    return None


def is_layer(call: Call) -> bool:
    """Whether it is a Linear or a convolution."""
    return call.name in LAYERS
