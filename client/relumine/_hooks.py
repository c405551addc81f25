"""Hooks that exist on sampled steps only. Between them the model carries none, so it copies, pickles and saves as ever.

A pre-hook sees the pre-activation before an in-place ReLU overwrites it. The producing layer is found by identity:
the tensor a Linear, convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from relumine import _reduce, _shift
from relumine._discover import Found
from relumine._guard import Guard
from relumine._sentinels import Sentinels
from relumine._site import Site

HELD = 8  # outputs remembered while their activation is awaited


class Probe:
    """A hook that a copied or pickled model carries as nothing: the copy is not watched."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> None:
        self._call(*arguments)  # a hook that returned something would replace the tensor

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _inert, ()


def _nothing(*_: Any) -> None:
    """What a probe becomes in a copy."""


def _inert() -> Callable[..., None]:
    return _nothing


class Made(NamedTuple):
    """What a producing module returned, how often it had been changed in place, and what the module read."""

    output: Tensor
    version: int
    module: nn.Module
    read: Tensor | None


class Hooks:
    """Arms a model for one step and gathers what its activations see. ``sites`` grows in order of first use."""

    def __init__(
        self, models: Mapping[str, nn.Module], activations: list[Found], producers: list[Found], guard: Guard
    ) -> None:
        self.sites: dict[tuple[int, int], Site] = {}
        self.sentinels = Sentinels()
        self.armed = False
        self._roots = list(models.values())
        self._activations = activations
        self._producers = {id(found.module): found for found in producers}
        self._guard = guard
        self._handles: list[RemovableHandle] = []
        self._calls: dict[int, int] = {}
        self._made: dict[int, Made] = {}
        self._inside: int = 0
        self._rooted = False
        self._learned = False

    def arm(self) -> None:
        """Put the hooks on: every activation that can die, and the layers that produce what it reads."""
        if self.armed:
            return
        self.armed = True
        self._rooted, self._inside = False, 0
        self._calls.clear()
        for root in self._roots:
            self._handles.append(root.register_forward_pre_hook(Probe(self._enter)))
            self._handles.append(root.register_forward_hook(Probe(self._leave), always_call=True))
        for found in self._activations:
            if found.can_die or not self._learned:
                self._handles.append(found.module.register_forward_pre_hook(Probe(self._activation_hook(found))))
        for module in self._producing():
            self._handles.append(module.register_forward_hook(Probe(self._produced)))

    def disarm(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._made.clear()
        self.armed = False

    def learned(self) -> None:
        """A whole step was seen: from now on hook only what turned out to matter."""
        self._learned = bool(self.sites) or self._learned

    def _producing(self) -> Iterator[nn.Module]:
        if not self._learned:
            yield from (found.module for found in self._producers.values())
            return
        bound = {id(site.producer): site.producer for site in self.sites.values() if site.producer and site.can_die}
        yield from bound.values()

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        with self._guard.inside("forward"):
            self._rooted = True
            self._inside += 1
            self._calls.clear()
            if module.training and torch.is_grad_enabled():
                self.sentinels.see_input(inputs)

    def _leave(self, module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        with self._guard.inside("forward"):
            self._inside = max(0, self._inside - 1)
            self._made.clear()
            if module.training and torch.is_grad_enabled():
                self.sentinels.see_output(output)

    def _is_counted(self, module: nn.Module) -> bool:
        """Only training forwards count; a forward recomputed by checkpointing happens outside the root's."""
        return module.training and torch.is_grad_enabled() and (self._inside > 0 or not self._rooted)

    def _produced(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        with self._guard.inside("producer"):
            if not isinstance(output, Tensor) or not self._is_counted(module):
                return
            read = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
            self._made[id(output)] = Made(output, output._version, module, read)  # noqa: SLF001 - the in-place counter has no public name
            while len(self._made) > HELD:
                del self._made[next(iter(self._made))]

    def _activation_hook(self, found: Found) -> Callable[..., None]:
        def see(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            with self._guard.inside(found.name):
                if inputs and isinstance(inputs[0], Tensor) and self._is_counted(module):
                    with torch.no_grad():
                        self._see(found, module, inputs[0])

        return see

    def _see(self, found: Found, module: nn.Module, z: Tensor) -> None:
        call = self._calls.get(id(module), 0) + 1 if self._rooted else 1
        self._calls[id(module)] = call
        made = self._made.pop(id(z), None)
        if made is not None and (made.output is not z or made.version != z._version):  # noqa: SLF001 - see above
            made = None
        site = self.sites.get((id(module), call))
        if site is None:
            site = self.sites[id(module), call] = self._new_site(found, z, call, made)
        if site.can_die:
            matched = made is not None and made.module is site.producer
            site.see(z, made.read if made is not None and matched else None, matched=matched)

    def _new_site(self, found: Found, z: Tensor, call: int, made: Made | None) -> Site:
        near = made or next((m for m in reversed(self._made.values()) if m.output.shape == z.shape), None)
        channels_first = _shift.is_channels_first(near.module) if near else z.dim() >= 4
        return Site(
            layer_id=len(self.sites) + 1,
            name=found.name if call == 1 else f"{found.name}#{call}",
            activation=found.activation,
            can_die=found.can_die,
            units=z.shape[_reduce.unit_dim(z, channels_first=channels_first)],
            channels_first=channels_first,
            has_positions=z.dim() > 2,
            producer=made.module if made else None,
            producer_name=self._producers[id(made.module)].name if made else None,
            residual=made is None and near is not None,
        )
