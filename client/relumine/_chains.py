"""Which plain layers feed which: heard during one forward, by following each ReLU's output into the next layer.

Between two layers of a chain lies only what keeps silence silence: reshaping, pooling, dropout. A sum, a
normalisation or a grouped convolution ends it. For ``check`` only: it holds on to tensors of the forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relumine._activations import classify

HELD = 32  # tensors followed at a time

LAYERS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
RESHAPES = frozenset({"view", "reshape", "flatten", "contiguous"})
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"})
POOLS = frozenset(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3))

Pool: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One Linear or convolution, not grouped, that a ReLU read directly.

    ``answer`` is its function of (input, weight, bias), ``positions`` the outputs per unit and point, ``read`` what it
    read at ``version``. ``before`` is the link that it read, by way of ``pools``.
    """

    weight: Tensor
    bias: Tensor | None
    answer: Callable[..., Any]
    positions: int
    read: Tensor
    version: int
    before: Link | None
    pools: tuple[Pool, ...] = ()

    @property
    def units(self) -> int:
        """Features or channels."""
        return self.weight.shape[0]

    @property
    def is_conv(self) -> bool:
        """Whether its units have positions."""
        return self.weight.dim() > 2

    def points(self, most: int) -> Tensor:
        """At most that many of the finite inputs it read, evenly spaced, on the CPU: (points, features or channels, …).

        None at all where the input was changed in place since.
        """
        rows = self.read if self.is_conv else self.read.reshape(-1, self.read.shape[-1])
        rows = rows[:0] if self.read._version != self.version else rows  # noqa: SLF001 - no public name
        rows = rows[rows.flatten(1).isfinite().all(1)]
        chosen = torch.linspace(0, len(rows) - 1, min(len(rows), most), device="cpu").round().long()
        return rows[chosen.to(rows.device)].to(device="cpu", dtype=torch.float32)


class _Trail(NamedTuple):
    """A tensor on its way: the pre-activation of ``link`` (``pools`` None), or its activation after ``pools``."""

    tensor: Tensor
    version: int
    link: Link
    pools: tuple[Pool, ...] | None

    @property
    def active(self) -> bool:
        """Whether the ReLU was passed."""
        return self.pools is not None


class _Call(NamedTuple):
    """One call of torch, its first argument, and the trail that this one is on."""

    name: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    x: Tensor
    trail: _Trail | None

    def argument(self, place: int, name: str) -> Tensor | None:
        """A tensor among the arguments; None where there is none."""
        value = self.args[place] if len(self.args) > place else self.kwargs.get(name)
        return value if isinstance(value, Tensor) else None

    def of(self, count: int) -> Callable[..., Any]:
        """The call as a function of its first ``count`` arguments."""
        function, rest = self.function, tuple(self.args[count:])
        kwargs = {key: value for key, value in self.kwargs.items() if key not in {"input", "weight", "bias"}}
        return lambda *first: function(*first, *rest, **kwargs)


class Follower(TorchFunctionMode):
    """Hears every call of torch and passes it on untouched; ``links`` grows in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._trails: dict[int, _Trail] = {}
        self._used: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        call = self._call(func, args, kwargs)  # looked at before it runs: it may change its argument in place
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._trails.pop(id(result), None)
            trail = self._next(call, result) if call is not None else None
            if trail is not None:
                self._trails[id(result)] = trail
            if len(self._trails) > HELD:
                del self._trails[next(iter(self._trails))]
        return result

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        x = args[0] if args else kwargs.get("input")
        if not isinstance(x, Tensor):
            return None
        trail = self._trails.get(id(x))
        if trail is not None and trail.version != x._version:  # noqa: SLF001 - the in-place counter has no public name
            trail = None
        return _Call(getattr(func, "__name__", "").strip("_"), func, args, kwargs, x, trail)

    def _next(self, call: _Call, result: Tensor) -> _Trail | None:
        if call.name in LAYERS:
            link = self._link(call, result)
            return None if link is None else _trail(result, link)
        if call.trail is None:
            return None
        link, pools = call.trail.link, call.trail.pools
        if not call.trail.active:
            found = classify(call.function, call.args, call.kwargs)
            if found is None or not found.can_die:
                return None
            self.links.append(link)
            return _trail(result, link, ())
        if call.name in RESHAPES | DROPOUTS:
            return _trail(result, link, pools)
        return _trail(result, link, (*(pools or ()), call.of(1))) if call.name in POOLS and link.is_conv else None

    def _link(self, call: _Call, result: Tensor) -> Link | None:
        """The link that this call of a layer makes; None where it is not plain, or its weights were used before."""
        weight = call.argument(1, "weight")
        if weight is None or id(weight) in self._used or not _is_plain(call.x, weight, result):
            return None
        self._used.add(id(weight))
        conv = weight.dim() > 2
        trail = (
            call.trail if call.trail is not None and call.trail.active and _fits(call.trail, call.x, weight) else None
        )
        return Link(
            weight=weight,
            bias=call.argument(2, "bias"),
            answer=call.of(3),
            positions=math.prod(result.shape[2:]) if conv else 1,
            read=call.x.detach(),
            version=call.x._version,  # noqa: SLF001 - the in-place counter has no public name
            before=None if trail is None else trail.link,
            pools=() if trail is None else trail.pools or (),
        )


def chains(links: Iterable[Link], wanted: Collection[int]) -> list[list[Link]]:
    """The links whose weight's id is in ``wanted``, each behind the one that it reads.

    Where two links read the same one, the first goes on with the chain and the second begins its own.
    """
    found: list[list[Link]] = []
    ends: dict[int, list[Link]] = {}
    for link in links:
        if id(link.weight) not in wanted:
            continue
        chain = ends.pop(id(link.before), None)
        if chain is None:
            chain = []
            found.append(chain)
        chain.append(link)
        ends[id(link)] = chain
    return found


def _trail(tensor: Tensor, link: Link, pools: tuple[Pool, ...] | None = None) -> _Trail:
    return _Trail(tensor, tensor._version, link, pools)  # noqa: SLF001 - the in-place counter has no public name


def _is_plain(x: Tensor, weight: Tensor, result: Tensor) -> bool:
    """Whether each unit reads all of its input's channels: not so in grouped convolutions."""
    if weight.dim() == 2:
        return x.dim() > 1 and result.numel() > 0
    return x.dim() == weight.dim() and x.shape[1] == weight.shape[1] and result.numel() > 0


def _fits(trail: _Trail, x: Tensor, weight: Tensor) -> bool:
    """Whether what is read are the units of ``trail.link``, one example beside the other, not mixed by a reshape."""
    before = trail.link.weight
    if before.dim() == 2:
        return weight.dim() == 2 and weight.shape[1] == before.shape[0]
    if x.shape[0] != trail.link.read.shape[0]:
        return False  # positions became examples
    if weight.dim() > 2:
        return weight.dim() == before.dim() and weight.shape[1] == before.shape[0]
    return x.dim() == 2
