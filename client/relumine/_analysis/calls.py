"""Torch calls that carry the units of a layer on, and how. Pure: reads functions, arguments and results.

A unit index map is an integer tensor of an activation's shape. At each position it holds the index of the unit that
the activation's entry belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relumine._torch.tensors import leaves_in

LAYERS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
NORM_FUNCTIONS = frozenset({"batch_norm"})
RESHAPES = frozenset({"view", "reshape", "flatten", "contiguous"})
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"})
POOLS = frozenset(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3))

# Calls that move entries without changing them: the same call on a unit index map gives the map of the result.
RESHAPING = (
    RESHAPES
    | {"unflatten", "permute", "transpose", "swapaxes", "movedim", "squeeze", "unsqueeze", "getitem", "narrow"}
    | {"select", "chunk", "split", "unbind", "clone", "alias", "expand", "expand_as", "repeat", "flip", "roll"}
)
# Calls that leave every entry at its position, and 0 at 0.
ELEMENTWISE = DROPOUTS | {"to", "float", "half", "bfloat16", "double", "type_as", "cuda", "cpu", "detach"}
# Calls whose result depends on no entry.
METADATA_ONLY = frozenset(
    {"get", "size", "dim", "ndimension", "len", "numel", "nelement", "stride", "is_contiguous", "is_floating_point"}
    | {"get_device", "data_ptr", "element_size", "hash", "requires_grad", "retain_grad", "type", "storage_offset"}
    | {"is_complex", "untyped_storage", "register_hook", "is_nonzero_static", "has_names", "repr", "format"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a torch function, with its input as the first positional argument."""

    name: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @classmethod
    def from_arguments(cls, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Return the call that a torch function mode intercepted, whether its input was positional or a keyword."""
        if not args and "input" in kwargs:
            args = (kwargs["input"],)
            kwargs = {key: value for key, value in kwargs.items() if key != "input"}
        return cls(getattr(function, "__name__", "").strip("_"), function, args, kwargs)

    @property
    def is_layer(self) -> bool:
        """True for a Linear or a convolution."""
        return self.name in LAYERS

    def argument(self, position: int, name: str) -> Any:
        """Return an argument by position or name; None if it was not passed."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)

    def tensor_argument(self, position: int, name: str) -> Tensor | None:
        """Return a tensor argument by position or name; None if there is no tensor."""
        value = self.argument(position, name)
        return value if isinstance(value, Tensor) else None

    def tensors(self) -> list[Tensor]:
        """Return all tensors among the arguments, nested ones too."""
        return tensors_in((self.args, self.kwargs))

    def reads_metadata_only(self, result: Any) -> bool:
        """Return True if the result is a shape or the like, which depends on no entry of a tensor."""
        return self.name in METADATA_ONLY and not tensors_in(result)

    def as_function_of(self, count: int) -> Callable[..., Any]:
        """Return the call as a function of its first ``count`` arguments (input, weight, bias); the others are kept."""
        function = self.function
        rest = tuple(self.args[count:])
        options = {key: value for key, value in self.kwargs.items() if key not in {"input", "weight", "bias"}}
        return lambda *leading: function(*leading, *rest, **options)


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in a value: in tuples, lists and dicts, and among the attributes of other objects."""
    tensors: list[Tensor] = []
    attributes: list[Tensor] = []
    for leaf in leaves_in(value):
        if isinstance(leaf, Tensor):
            tensors.append(leaf)
        elif hasattr(leaf, "__dict__") and not isinstance(leaf, type):
            attributes += [item for item in leaves_in(vars(leaf)) if isinstance(item, Tensor)]
    return tensors + attributes


def unit_index_map(output: Tensor, units: int, dim: int) -> Tensor:
    """Return the unit index map of a layer's output whose units lie along dimension ``dim``."""
    shape = [1] * output.dim()
    shape[dim] = units
    return torch.arange(units, dtype=torch.int32, device=output.device).view(shape).expand(output.shape)


def propagate(call: Call, unit_index: Tensor, result: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the tensors of the result that carry the units on, each with its map; none where that is not certain.

    ``unit_index`` is the map of the call's first argument.
    """
    try:
        if call.name in RESHAPING:
            maps = tensors_in(call.function(unit_index, *call.args[1:], **call.kwargs))
            return list(zip(tensors_in(result), maps, strict=True))
        result_index = _result_index(call, unit_index, result) if isinstance(result, Tensor) else None
    except (RuntimeError, TypeError, ValueError, IndexError):  # a form of the call that no integer tensor accepts
        return []
    return [] if result_index is None else [(result, result_index)]


def _result_index(call: Call, unit_index: Tensor, result: Tensor) -> Tensor | None:
    """Return the map of the result of an element-wise call, a pooling or a mean; None for any other call."""
    if call.name in ELEMENTWISE and result.shape == unit_index.shape:
        return unit_index
    if call.name in POOLS and result.dim() == unit_index.dim():
        channels = units_along(unit_index, 1)
        if channels is None:
            return None
        return channels.view(1, -1, *[1] * (result.dim() - 2)).expand(result.shape)
    if call.name == "mean":
        averaged = _mean_index(call, unit_index)
        if averaged is not None and averaged.shape == result.shape:
            return averaged
    return None


def _mean_index(call: Call, unit_index: Tensor) -> Tensor | None:
    """Return the map after a mean over entries of one unit each; None where a mean mixes units.

    Only where all averaged indices are equal is the mean of their squares the square of their mean.
    """
    kwargs = {key: value for key, value in call.kwargs.items() if key != "dtype"}
    indices = unit_index.double()
    mean: Tensor = call.function(indices, *call.args[1:], **kwargs)
    mean_square: Tensor = call.function(indices.square(), *call.args[1:], **kwargs)
    if not torch.allclose(mean_square, mean.square(), rtol=1e-9):
        return None
    return mean.round().int()


def units_along(unit_index: Tensor, dim: int) -> Tensor | None:
    """Return the unit at each position of dimension ``dim``, shape (positions,); None where it varies along others."""
    rows = unit_index.movedim(dim, -1).reshape(-1, unit_index.shape[dim])
    if len(rows) and bool((rows == rows[0]).all()):
        return rows[0]
    return None


def unit_dim(unit_index: Tensor, count: int) -> int | None:
    """Return the dimension along which all ``count`` units lie in order; None where there is none."""
    for dim in range(unit_index.dim()):
        if unit_index.shape[dim] != count:
            continue
        units = units_along(unit_index, dim)
        if units is not None and bool((units == torch.arange(count, device=units.device)).all()):
            return dim
    return None
