"""Where a pre-activation comes from: which layer made it, which split that allows, and what is missing otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from relumine import _shift

Split: TypeAlias = Literal["linear", "batchnorm", "residual", "none"]

NORMALISED = "shares of weights and input: the batch is normalised in between"
SUM = "shares: a sum of several layers"
UNKNOWN = "producer: not found"
SHARDED = "producer's weights: sharded over processes"


class Made(NamedTuple):
    """What a module returned, how often it had been changed in place, and what the module read."""

    output: Tensor
    version: int
    module: nn.Module
    read: Tensor | None


class Origin(NamedTuple):
    """What is known of a layer's pre-activation when it is first seen."""

    producer: nn.Module | None
    channels_first: bool
    split: Split
    missing: list[str]


def origin_of(z: Tensor, made: Made | None, recent: Iterable[Made], name_of: Callable[[nn.Module], str]) -> Origin:
    """``made`` is the module that returned ``z``, ``recent`` what modules returned before it, the latest last."""
    if made is not None and is_producer(made.module):
        linear = _shift.is_linear(made.module)
        missing = [] if linear else [NORMALISED]
        split: Split = "linear" if linear else "batchnorm"
        return Origin(made.module, is_channels_first(made.module), split, missing)
    alike = [one for one in recent if one.output.shape == z.shape]
    layouts = [is_channels_first(one.module) for one in alike if _has_units(one.module)]
    channels_first = layouts[-1] if layouts else z.dim() >= 4
    if made is not None:
        return Origin(None, channels_first, "none", [f"producer: {name_of(made.module)} returned it as a whole"])
    if alike and z.grad_fn is not None and z.grad_fn.name().startswith("AddBackward"):
        return Origin(None, channels_first, "residual", [SUM])
    return Origin(None, channels_first, "none", [UNKNOWN])


def is_producer(module: nn.Module) -> bool:
    """Whether it computes what its class says: a subclass with a forward of its own (LoRA, quantisation) may not."""
    known = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, _BatchNorm))
    return known and type(module).forward.__module__.startswith("torch.nn.modules")


def is_channels_first(module: nn.Module) -> bool:
    """Whether the module puts its units in dimension 1."""
    return isinstance(module, (_ConvNd, _NormBase, nn.GroupNorm))


def _has_units(module: nn.Module) -> bool:
    return is_channels_first(module) or isinstance(module, (nn.Linear, nn.LayerNorm))
