"""The axis of a pre-activation that holds features, read from the autograd graph that computed it.

A feature axis begins at a layer with weights (a product with parameters, a convolution, a normalization, an embedding)
and is followed through everything that keeps it: sums, masks, views, permutations, pooling. It is lost where numbers of
different examples or pairs are compared: distances, margins, intersections of boxes. Only names and shapes are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

# Nodes visited per search; a longer path between a layer and its activation is not followed.
MAX_NODES = 300
MAX_WEIGHT_DEPTH = 16

LAST_AXIS = frozenset(
    {"NativeLayerNorm", "FusedRmsNorm", "RmsNorm", "Embedding", "EmbeddingBag", "CudnnRnn", "MkldnnRnnLayer", "Linear"}
    | {"Trilinear"}
)
CHANNEL_AXIS = frozenset(
    {
        "Convolution",
        "ConvolutionOverrideable",
        "MkldnnConvolution",
        "CudnnConvolution",
        "CudnnConvolutionTranspose",
        "MpsConvolution",
        "NativeBatchNorm",
        "CudnnBatchNorm",
        "MiopenBatchNorm",
        "BatchNormWithUpdate",
        "NativeGroupNorm",
    }
)
PRODUCTS = frozenset({"Addmm", "Mm", "Bmm", "Baddbmm", "Addbmm", "SparseAddmm", "SparseMm"})
# What compares numbers: the result belongs to examples, pairs or boxes, not to units.
COMPARISONS = frozenset({"Rsub", "Minimum", "Maximum", "Cdist", "EuclideanDist", "PdistForward", "Dot"})
REDUCTIONS = frozenset(
    {"Sum", "Mean", "Prod", "Var", "Std", "Norm", "LinalgVectorNorm", "Amax", "Amin", "Max", "Min", "Logsumexp"}
    | {"Median", "Nanmedian", "Nansum", "Kthvalue", "Mode", "VarMean", "StdMean", "Aminmax"}
)
VIEWS = frozenset({"View", "UnsafeView", "ReshapeAlias", "ViewAs"})
# What changes the number of features or channels, but not where they lie.
SAME_AXIS = frozenset({"Slice", "Split", "SplitWithSizes", "UnsafeSplit", "Cat", "PixelShuffle", "PixelUnshuffle"})
PARTS = frozenset({"Slice", "Split", "SplitWithSizes", "UnsafeSplit"})
SUMS = frozenset({"Add", "Sub"})
# What takes one number per example out of several: the score of the right class, from which others keep a margin.
PICKS = frozenset({"Gather", "Index", "Select", "Slice", "Diagonal", "IndexSelect", "Take"})
RESHAPES = VIEWS | {"Unsqueeze", "Squeeze", "Expand"}


class _Axis(NamedTuple):
    """A feature axis as an index from the left; ``is_part``: some of the features only."""

    dim: int
    is_part: bool = False


class _Operand(NamedTuple):
    """An input of a node: the node that computed it, and which of its outputs."""

    node: Any
    output: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.node._input_metadata[self.output].shape)  # noqa: SLF001 - torch has no public name for it

    @property
    def name(self) -> str:
        """The name of the operation: ``Addmm`` for ``AddmmBackward0``."""
        name: str = self.node.name()
        return name.rpartition(":")[2].partition("Backward")[0]


def feature_axis(z: Tensor) -> int | None:
    """Return the axis of ``z`` that holds features, or None where its graph shows none."""
    if z.grad_fn is None:
        return None
    try:
        axis = _Search().axis_of(_Operand(z.grad_fn, z.output_nr))
    except (AttributeError, RecursionError):  # a node of a kind that this torch describes in another way
        return None
    if axis is None or axis.dim >= z.dim():
        return None
    return axis.dim


def is_weight(tensor: Tensor) -> bool:
    """Return True for a parameter, or a tensor that was computed from parameters alone, not from an input."""
    if isinstance(tensor, nn.Parameter) or (tensor.is_leaf and tensor.requires_grad):
        return True
    return tensor.grad_fn is not None and _is_weight(_Operand(tensor.grad_fn, tensor.output_nr))


def has_readable_graph(z: Tensor) -> bool:
    """Return True if the graph of ``z`` shows shapes, as it does in all but early versions of torch."""
    return hasattr(z.grad_fn, "_input_metadata")


class _Search:
    """A search upwards through the graph of one tensor."""

    def __init__(self) -> None:
        self._nodes = 0

    def axis_of(self, source: _Operand) -> _Axis | None:
        """Return the feature axis of the output of a node."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            return None
        name = source.name
        if name in CHANNEL_AXIS:
            return _Axis(1)
        if name in LAST_AXIS:
            return _Axis(len(source.shape) - 1)
        if name == "AccumulateGrad" or name in COMPARISONS:
            return None
        if name in PRODUCTS:
            return self._of_product(source)
        return self._carried_on(source, name)

    def _carried_on(self, source: _Operand, name: str) -> _Axis | None:
        """Return the axis of the first input that has one, as it lies in the output."""
        operands = _operands(source)
        if name == "Sub" and (operands[0] is None or _is_pick(operands[1])):  # a margin: m - x, or x - x[label]
            return None
        carried: _Axis | None = None
        for operand in operands:
            axis = None if operand is None else self.axis_of(operand)
            if operand is None or axis is None:
                continue
            if carried is not None and carried.is_part and axis.is_part:  # x2 - x1 of a box
                return None
            if carried is None:
                carried = _mapped(name, source, operand, axis)
            if carried is not None and not (carried.is_part and name in SUMS):
                return carried
        return carried

    def _of_product(self, source: _Operand) -> _Axis | None:
        """Return the axis of a matrix product: the columns of weights on the right, or the rows of weights on the left.

        A product with a constant (a graph's adjacency) keeps the features of its other factor.
        """
        left, right = _operands(source)[-2:]
        columns = len(source.shape) - 1
        rows = columns - 1
        if _is_weight(right) or (right is None and source.name == "Addmm"):
            return _Axis(columns)
        if _is_weight(left):
            return _Axis(rows)
        for operand, dim in ((right, columns), (left, rows)):
            axis = None if operand is None else self.axis_of(operand)
            if axis is not None and axis.dim == dim:
                return axis
        return None


def _operands(source: _Operand) -> list[_Operand | None]:
    return [None if node is None else _Operand(node, index) for node, index in source.node.next_functions]


def _is_weight(operand: _Operand | None, depth: int = 0) -> bool:
    """Return True for a parameter, or one that was reshaped, cast, scaled or normalised on the way."""
    if operand is None or depth > MAX_WEIGHT_DEPTH:
        return False
    name = operand.name
    if name == "AccumulateGrad":
        return True
    if name in PRODUCTS or name in CHANNEL_AXIS or name in LAST_AXIS:
        return False
    first = next((item for item in _operands(operand) if item is not None), None)
    return _is_weight(first, depth + 1)


def _is_pick(operand: _Operand | None) -> bool:
    """Return True for one number per example that was picked from several."""
    while operand is not None and operand.name in RESHAPES:
        operand = _operands(operand)[0]
    if operand is None or operand.name not in PICKS:
        return False
    return len(operand.shape) <= 1 or operand.shape[-1] == 1


def _mapped(name: str, source: _Operand, operand: _Operand, axis: _Axis) -> _Axis | None:
    """Return the axis of an operand as it lies in the output of the node."""
    shape_in = operand.shape
    shape_out = source.shape
    if name in VIEWS:
        dim = _through_view(axis.dim, shape_in, shape_out)
    elif name in REDUCTIONS:
        dim = _through_reduction(source.node, axis.dim, len(shape_in))
    elif name in SAME_AXIS:
        dim = axis.dim
    elif name in _MOVES:
        dim = _MOVES[name](source.node, axis.dim, shape_in)
    else:
        dim = _aligned(axis.dim, shape_in, shape_out)
    if dim is None or not 0 <= dim < len(shape_out):
        return None
    is_part = axis.is_part or (name in PARTS and shape_out[dim] < shape_in[axis.dim])
    return _Axis(dim, is_part)


def _aligned(dim: int, shape_in: Sequence[int], shape_out: Sequence[int]) -> int | None:
    """Return the axis after an operation that broadcasts, pools or selects: counted from the right, of equal size."""
    moved = dim + len(shape_out) - len(shape_in)
    if 0 <= moved < len(shape_out) and shape_out[moved] == shape_in[dim]:
        return moved
    return None


def _through_view(dim: int, shape_in: Sequence[int], shape_out: Sequence[int]) -> int | None:
    """Return the axis of the output that holds the innermost part of an axis, unless it was merged with the first."""
    if shape_in[dim] == 1:
        return len(shape_out) - 1 if shape_out and shape_out[-1] == 1 else None
    stride = math.prod(shape_in[dim + 1 :])
    inner = 1
    for index in reversed(range(len(shape_out))):
        if inner <= stride < inner * shape_out[index]:
            is_merged_with_examples = index == 0 and dim > 0 and shape_out[0] > shape_in[dim]
            return None if is_merged_with_examples else index
        inner *= shape_out[index]
    return None


def _through_reduction(node: Any, dim: int, dims: int) -> int | None:
    reduced = getattr(node, "_saved_dim", None)
    if reduced is None:
        return None
    removed = {_index(item, dims) for item in (reduced if isinstance(reduced, (tuple, list)) else (reduced,))}
    if not removed or dim in removed:
        return None
    if getattr(node, "_saved_keepdim", False):
        return dim
    return dim - sum(item < dim for item in removed)


def _index(saved: int, dims: int) -> int:
    """Return a saved dimension as an index; torch saves negative ones as huge unsigned numbers."""
    value = int(saved)
    if value >= 2**63:
        value -= 2**64
    return value % dims if dims else 0


def _transposed(node: Any, dim: int, shape: Sequence[int]) -> int:
    first = _index(node._saved_dim0, len(shape))  # noqa: SLF001 - no public name
    second = _index(node._saved_dim1, len(shape))  # noqa: SLF001 - no public name
    return {first: second, second: first}.get(dim, dim)


def _permuted(node: Any, dim: int, shape: Sequence[int]) -> int:
    return [_index(item, len(shape)) for item in node._saved_dims].index(dim)  # noqa: SLF001 - no public name


def _selected(node: Any, dim: int, shape: Sequence[int]) -> int | None:
    removed = _index(node._saved_dim, len(shape))  # noqa: SLF001 - no public name
    if removed == dim:
        return None
    return dim - (removed < dim)


def _squeezed(node: Any, dim: int, shape: Sequence[int]) -> int | None:
    saved = getattr(node, "_saved_dim", None)
    if saved is None:
        candidates = set(range(len(shape)))
    else:
        candidates = {_index(item, len(shape)) for item in (saved if isinstance(saved, (tuple, list)) else (saved,))}
    removed = {item for item in candidates if shape[item] == 1}
    return None if dim in removed else dim - sum(item < dim for item in removed)


def _unsqueezed(node: Any, dim: int, shape: Sequence[int]) -> int:
    return dim + (_index(node._saved_dim, len(shape) + 1) <= dim)  # noqa: SLF001 - no public name


_MOVES: Mapping[str, Callable[[Any, int, Sequence[int]], int | None]] = {
    "Transpose": _transposed,
    "T": lambda _node, dim, shape: len(shape) - 1 - dim,
    "Permute": _permuted,
    "Select": _selected,
    "Unbind": _selected,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Stack": _unsqueezed,
}
