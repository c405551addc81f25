"""Looking into a model for one step. The model itself carries nothing, so it copies, pickles and saves as ever.

On a sampled step torch's global module hooks say where the forward is; from the outermost watched module's entry to its
exit a function mode hears each activation before it runs, however it is spelled. The producing layer is found by
identity: the tensor a Linear, convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from relumine import _reduce
from relumine._activations import Activation
from relumine._compiled import Stance, is_captured, is_optimized
from relumine._cost import CALL_S, Cost
from relumine._discover import Names
from relumine._guard import Guard
from relumine._listener import Listener
from relumine._origin import Made, origin_of
from relumine._sentinels import Sentinels
from relumine._site import Moment, Site

TAPPED = Activation("tapped", can_die=True)
THOROUGH_EVERY = 7  # steps between looks at norms, input and output: every look of the grid, few of a burst
HELD = 8  # outputs remembered while their activation is awaited


class Hooks:
    """Arms the watched models for one step and gathers what their activations see.

    ``sites`` grows in order of first use; a key is a module and which activation in it.
    """

    def __init__(self, names: Names, cost: Cost, guard: Guard) -> None:
        self.sites: dict[tuple[int, int], Site] = {}
        self.sentinels = Sentinels()
        self.stance = Stance()
        self.armed = False
        self.names, self._cost, self._guard = names, cost, guard
        self._handles: list[RemovableHandle] = []
        self._calls: dict[int, int] = {}
        self._entered: set[int] = set()
        self._made: dict[int, Made] = {}
        self._inside: list[nn.Module] = []
        self._listener: Listener | None = None
        self._thread = 0
        self._moment = Moment(0, thorough=True)
        self._thorough_from = 0
        self._ran = False
        self._batch: int | None = None
        self._leaving = False

    def arm(self, step: int) -> None:
        """Put the hooks on for ``step``. Compiled code runs this one step eagerly: its graph has no place for them."""
        if self.armed:
            return
        self.armed, self._ran, self._thread = True, False, threading.get_ident()
        thorough = step >= self._thorough_from
        self._moment = Moment(step, thorough)
        if thorough:
            self._thorough_from = step + THOROUGH_EVERY
        self._entered.clear()
        self._put_on()

    def disarm(self) -> None:
        """Take the hooks off."""
        self.armed = False
        self._stop_listening()
        self._take_off()

    def _put_on(self) -> None:
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        self.stance.eager()

    def _take_off(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.stance.restore()

    def leave_soon(self) -> None:
        """Take the hooks off, but not in the middle of a forward: a mode must be left where it was entered."""
        self._leaving = True
        if self._listener is None:
            self.disarm()

    def silent(self) -> list[Site]:
        """Layers that should have been seen on this step and were not.

        Their module ran, in training mode, and no activation in it was heard; or no forward was heard at all, though
        the optimizer stepped. A module that did not run (routing, alternation) or is frozen in eval mode is not silent.
        """
        alive = {site.place for site in self.sites.values() if site.seen}
        return [
            site
            for site in self.sites.values()
            if site.can_die
            and site.place
            and site.place not in alive
            and (site.place in self._entered or not self._ran)
        ]

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread:
            return
        if is_optimized(module):
            self._enter_compiled(module)
        if module not in self.names:
            return
        began = perf_counter()
        try:
            self._go_in(module, inputs)
        except Exception as error:  # noqa: BLE001 - the user's forward must go on
            self._guard.caught("forward", error)
        self._cost.spent_s += perf_counter() - began + CALL_S

    def _enter_compiled(self, module: nn.Module) -> None:
        """Evaluation between two steps may be long: it stays compiled, and then no hook may be there to be traced."""
        if torch.is_grad_enabled():
            self.stance.eager()  # it may have been compiled since the step was armed
            return
        self._take_off()

        def resume(*_: object) -> None:
            handle.remove()
            if self.armed:
                self._put_on()

        handle = module.register_forward_hook(resume, always_call=True)

    def _go_in(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._inside and self._inside[0] is module:
            self._stop_listening()  # an interrupt left the forward without a word
        outermost = not self._inside
        self._inside.append(module)
        if outermost:
            self._begin(module, inputs)
        if self._listener is not None and module.training:
            self._entered.add(id(module))

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Listen to a forward that trains: not one without gradients, nor one that checkpointing does again."""
        self._ran = True
        if not torch.is_grad_enabled() or _in_backward() or is_captured():
            return
        self._calls.clear()
        self._batch = self.sentinels.see_input(inputs, keep=self._moment.thorough) if module.training else None
        self._listener = Listener(self._see, self._cost, self._guard)
        self._listener.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if not self._inside or module not in self.names:
            return
        began = perf_counter()
        try:
            self._go_out(module, inputs, output)
        except Exception as error:  # noqa: BLE001 - as above
            self._guard.caught("forward", error)
        self._cost.spent_s += perf_counter() - began + CALL_S

    def _go_out(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        while self._inside and self._inside.pop() is not module:
            continue  # a module whose forward raised was left without a word
        if self._listener is None:
            return
        if isinstance(output, Tensor) and id(output) not in self._made:
            self._remember(module, inputs, output)
        if not self._inside:
            self._stop_listening()
            if module.training and self._moment.thorough:
                self.sentinels.see_output(output)
            if self._leaving:
                self.disarm()

    def _stop_listening(self) -> None:
        self._made.clear()
        self._inside.clear()
        listener, self._listener = self._listener, None
        if listener is not None and threading.get_ident() == self._thread:  # a mode belongs to the thread it is in
            listener.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        read = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        self._made[id(output)] = Made(output, output._version, module, read)  # noqa: SLF001 - the in-place counter has no public name
        if len(self._made) > HELD:
            del self._made[next(iter(self._made))]

    def _see(self, activation: Activation, z: Tensor) -> None:
        module = self._inside[-1]
        call = self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        name = self.names.of_activation(module, activation, call)
        if name is None or not module.training:
            return
        made = self._made.pop(id(z), None)
        if made is not None and (made.output is not z or made.version != z._version):  # noqa: SLF001 - see above
            made = None
        with torch.no_grad():
            site = self.sites.get((id(module), call))
            if site is None:
                site = self.sites[id(module), call] = self._new_site(name, activation, z, made)
                site.place = id(module)
            if site.can_die and z.numel():
                matched = made is not None and made.module is site.producer
                site.see(z, made.read if made is not None and matched else None, self._moment, matched=matched)

    def tap(self, name: str, z: Tensor, mask: Tensor | None) -> None:
        """Take in a pre-activation that no function of torch shows: a layer of its own under the given name."""
        if not self.armed or not torch.is_grad_enabled() or _in_backward() or not z.numel():
            return
        with torch.no_grad():
            key = (0, hash(name))
            site = self.sites.get(key)
            if site is None:
                site = self.sites[key] = self._new_site(name, TAPPED, z, None)
                site.flattened = mask is not None or site.flattened
                site.channels_first = mask is None and site.channels_first
            if mask is None:
                site.see(z, None, self._moment, matched=False)
            else:
                site.see_masked(z, mask)

    def _new_site(self, name: str, activation: Activation, z: Tensor, made: Made | None) -> Site:
        origin = origin_of(z, made, list(self._made.values()), self.names.of)
        return Site(
            layer_id=len(self.sites) + 1,
            name=name,
            activation=activation.name,
            can_die=activation.can_die,
            units=z.shape[_reduce.unit_dim(z, channels_first=origin.channels_first)],
            channels_first=origin.channels_first,
            has_positions=z.dim() > 2,
            flattened=self._batch is not None and z.dim() > 1 and z.shape[0] != self._batch,
            producer=origin.producer,
            producer_name=self.names.of(origin.producer) if origin.producer is not None else None,
            split=origin.split,
            missing=origin.missing if activation.can_die else [],
        )


def _in_backward() -> bool:
    """Whether autograd is running: a forward then is one that checkpointing does again."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - torch has no public question for it
