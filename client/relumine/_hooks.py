"""Looking into a model for one step. Between sampled steps it carries no hook, so it copies, pickles and saves as ever.

On a sampled step every module gets a hook that says where the forward is; from the outermost module's entry to its
exit a function mode sees each activation before it runs, however it is spelled. The producing layer is found by
identity: the tensor a Linear, convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from relumine import _reduce, _shift
from relumine._activations import Activation, classify
from relumine._cost import Cost
from relumine._discover import PRODUCERS, Names
from relumine._guard import Guard
from relumine._sentinels import Sentinels
from relumine._site import Site

TAPPED = Activation("tapped", can_die=True)
HOOK_S = 2e-6  # what torch itself takes to call a hook, or a function under a mode; it cannot be timed from inside
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


class Listener(TorchFunctionMode):
    """Sees every call of torch while the model's forward runs, and passes it on untouched."""

    def __init__(self, see: Callable[[Activation, Tensor], None], cost: Cost, guard: Guard) -> None:
        super().__init__()
        self._see, self._cost, self._guard = see, cost, guard

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._cost.spent_s += HOOK_S
        found = classify(func, args, kwargs or {})
        if found is not None:
            with self._guard.inside(found.name), self._cost.counting():
                z = args[0] if args else (kwargs or {}).get("input")
                if isinstance(z, Tensor) and z.dim() and z.is_floating_point():
                    self._see(found, z)
        return func(*args, **(kwargs or {}))


class Hooks:
    """Arms a model for one step and gathers what its activations see. ``sites`` grows in order of first use."""

    def __init__(self, names: Names, cost: Cost, guard: Guard) -> None:
        self.sites: dict[tuple[int, int], Site] = {}
        self.sentinels = Sentinels()
        self.armed = False
        self._names = names
        self._cost = cost
        self._guard = guard
        self._handles: list[RemovableHandle] = []
        self._calls: dict[int, int] = {}
        self._made: dict[int, Made] = {}
        self._inside: list[nn.Module] = []
        self._listener: Listener | None = None
        self._batch: int | None = None
        self._eagerly = False
        self._leaving = False

    def arm(self) -> None:
        """Put the hooks on. A compiled model runs this one step eagerly: its graph has no place for them."""
        if self.armed:
            return
        self.armed = True
        self._inside.clear()
        for module in self._names.modules():
            self._handles.append(module.register_forward_pre_hook(Probe(self._enter)))
            self._handles.append(module.register_forward_hook(Probe(self._leave), always_call=True))
        self._run_eagerly(wanted=True)

    def leave_soon(self) -> None:
        """Take every hook off, but not in the middle of a forward: a mode must be left where it was entered."""
        self._leaving = True
        if self._listener is None:
            self.disarm()

    def disarm(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stop_listening()
        self._run_eagerly(wanted=False)
        self.armed = False

    def _run_eagerly(self, *, wanted: bool) -> None:
        if wanted != self._eagerly and _has_compiled():
            torch.compiler.set_stance("force_eager" if wanted else "default")
            self._eagerly = wanted

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        with self._guard.inside("forward"), self._cost.counting():
            outermost = not self._inside
            self._inside.append(module)
            if outermost and torch.is_grad_enabled() and not _in_backward():
                self._calls.clear()
                self._batch = self.sentinels.see_input(inputs) if module.training else None
                self._listener = Listener(self._see, self._cost, self._guard)
                self._listener.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        with self._guard.inside("forward"), self._cost.counting():
            while self._inside and self._inside.pop() is not module:
                continue  # a module whose forward raised was left without a word
            if self._listener is None:
                return
            if isinstance(module, PRODUCERS) and isinstance(output, Tensor):
                self._remember(module, inputs, output)
            if not self._inside:
                self._stop_listening()
                if module.training:
                    self.sentinels.see_output(output)
                if self._leaving:
                    self.disarm()

    def _stop_listening(self) -> None:
        self._made.clear()
        self._inside.clear()
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        read = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        self._made[id(output)] = Made(output, output._version, module, read)  # noqa: SLF001 - the in-place counter has no public name
        while len(self._made) > HELD:
            del self._made[next(iter(self._made))]

    def _see(self, activation: Activation, z: Tensor) -> None:
        module = self._inside[-1]
        call = self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        name = self._names.of_activation(module, activation, call)
        if name is None or not module.training:
            return
        made = self._made.pop(id(z), None)
        if made is not None and (made.output is not z or made.version != z._version):  # noqa: SLF001 - see above
            made = None
        with torch.no_grad():
            site = self.sites.get((id(module), call))
            if site is None:
                site = self.sites[id(module), call] = self._new_site(name, activation, z, made)
            if site.can_die:
                matched = made is not None and made.module is site.producer
                site.see(z, made.read if made is not None and matched else None, matched=matched)

    def tap(self, name: str, z: Tensor, mask: Tensor | None) -> None:
        """Take in a pre-activation that no function of torch shows: a layer of its own under the given name."""
        if not self.armed or not torch.is_grad_enabled() or _in_backward():
            return
        with torch.no_grad():
            values = z.detach() if mask is None else z.detach()[mask]
            key = (id(self), hash(name))
            site = self.sites.get(key)
            if site is None:
                site = self.sites[key] = self._new_site(name, TAPPED, values, None)
                site.flattened = mask is not None or site.flattened
            if values.numel():
                site.see(values, None, matched=False)

    def _new_site(self, name: str, activation: Activation, z: Tensor, made: Made | None) -> Site:
        near = made or next((m for m in reversed(self._made.values()) if m.output.shape == z.shape), None)
        channels_first = _shift.is_channels_first(near.module) if near else z.dim() >= 4
        return Site(
            layer_id=len(self.sites) + 1,
            name=name,
            activation=activation.name,
            can_die=activation.can_die,
            units=z.shape[_reduce.unit_dim(z, channels_first=channels_first)],
            channels_first=channels_first,
            has_positions=z.dim() > 2,
            flattened=self._batch is not None and z.dim() > 1 and z.shape[0] != self._batch,
            producer=made.module if made else None,
            producer_name=self._names.of(made.module) if made else None,
            residual=made is None and near is not None,
        )


def _in_backward() -> bool:
    """Whether autograd is running: a forward then is one that checkpointing does again."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - torch has no public question for it


def _has_compiled() -> bool:
    """Whether torch.compile was used in this process; asking for the stance before would load dynamo for nothing."""
    import sys  # noqa: PLC0415

    return "torch._dynamo" in sys.modules
