"""Which optimizer's steps are the run's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def steps_done(optimizers: Iterable[Optimizer]) -> int:
    """How many steps the optimizers remember having made; 0 where they keep no count, as SGD, or keep it elsewhere."""
    kept = [state.get("step", 0) for optimizer in optimizers for state in optimizer.state.values()]
    host = [step for step in kept if not isinstance(step, Tensor) or step.device.type == "cpu"]
    return max((int(step) for step in host), default=0)


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """Of what Accelerate and Lightning wrap around an optimizer, without its hooks: the one that makes the steps."""
    inner = getattr(optimizer, "optimizer", None)
    return unwrapped(inner) if isinstance(inner, Optimizer) else optimizer


class Clock:
    """Ticks once per step of the optimizer that steps most often.

    Several optimizers that step in turn (a GAN, an encoder and a decoder) make one step of a round; where one steps
    twice and the present clock not at all (more critic steps, a phase that trains another part), that one takes over.
    """

    def __init__(self, optimizers: Sequence[Optimizer], tick: Callable[[], None]) -> None:
        self._tick = tick
        self._present = 0
        self._since = [0] * len(optimizers)
        self._handles = [
            optimizer.register_step_post_hook(self._hook(index, alone=len(optimizers) == 1))
            for index, optimizer in enumerate(optimizers)
        ]

    def stop(self) -> None:
        """Leave the optimizers as they were found."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, index: int, *, alone: bool) -> Callable[..., None]:
        tick = self._tick

        def only(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            tick()

        def one_of_many(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            self._stepped(index)

        return only if alone else one_of_many

    def _stepped(self, index: int) -> None:
        self._since[index] += 1
        if index != self._present and self._since[index] < 2:
            return
        self._present = index
        self._since = [0] * len(self._since)
        self._tick()
