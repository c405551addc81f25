"""Which optimizer's steps are the run's steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer


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
