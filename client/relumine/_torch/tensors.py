"""Helpers for tensors: version checks, the tensors in a nested value, and strided samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

# Adjacent numbers per run of a strided sample: as many cache lines as numbers would cost many times the copy.
RUN_LENGTH = 64

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def version_of(tensor: Tensor) -> int:
    """Return the version of a tensor: torch increments it with each change in place. -1 where it counts none."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - the version counter has no public name


def is_unchanged(tensor: Tensor, version: int) -> bool:
    """Return True if a tensor was not changed in place since it had this version."""
    return version_of(tensor) == version


def sum_of_versions(tensors: Iterable[Tensor]) -> int:
    """Return the sum of the tensors' versions, which grows whenever one of them is changed in place."""
    return sum(tensor._version for tensor in tensors)  # noqa: SLF001 - as above


def leaves_in(value: object) -> Iterator[object]:
    """Yield the leaves of a nested value, depth first: it may consist of tuples, lists, deques and mappings."""
    if isinstance(value, Tensor):  # the usual leaf, before the slower tests
        yield value
    elif isinstance(value, (tuple, list, deque)):
        for item in value:
            yield from leaves_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves_in(item)
    else:
        yield value


def first_tensor(value: object) -> Tensor | None:
    """Return the first tensor in a nested value, or None."""
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):  # the usual arguments of a forward
        return value[0]
    for leaf in leaves_in(value):
        if isinstance(leaf, Tensor):
            return leaf
    return None


def strided_sample(tensor: Tensor, size: int) -> Tensor:
    """Copy about ``size`` numbers of a tensor in evenly spaced runs, shape (n,); all numbers if it holds fewer.

    The copy stays on the tensor's device.
    """
    tensor = tensor.detach()
    numel = tensor.numel()
    if numel <= size:
        return tensor.clone().reshape(-1)
    runs = max(1, size // RUN_LENGTH)
    if not _is_dense(tensor):
        tensor = tensor.reshape(-1)
    run_length = min(RUN_LENGTH, numel // runs)
    return tensor.as_strided((runs, run_length), (numel // runs, 1)).clone().reshape(-1)


def _is_dense(tensor: Tensor) -> bool:
    """Return True if the numbers of the tensor fill its memory without gaps or overlap, in some order of dimensions."""
    if tensor.is_contiguous():
        return True
    layout = _CHANNELS_LAST.get(tensor.dim())
    return layout is not None and tensor.is_contiguous(memory_format=layout)


def is_readable_later(tensor: Tensor) -> bool:
    """Return True if another thread can read the tensor's numbers after this call has returned.

    It cannot where the tensor stands for others (``torch.func``), holds no numbers (meta, fake), is spread over
    processes, or is packed in a layout of its own.
    """
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        return False
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # noqa: SLF001 - torch has no public query for it
        return False
    return type(tensor) is Tensor or not (hasattr(tensor, "to_local") or hasattr(tensor, "fake_mode"))


def is_local_dense(tensor: object) -> bool:
    """Return True if this process holds the whole tensor, which FSDP and its like shard over processes."""
    return (
        isinstance(tensor, Tensor)
        and type(tensor) in (Tensor, nn.Parameter)
        and not tensor.is_sparse
        and tensor.untyped_storage().size() > 0
    )
