"""Torch's global module hooks and the eager stance, in a form that leaves nothing behind whatever interrupts it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from relumine._torch.compile import EagerStance


class GlobalHooks:
    """A hook before and a hook after the forward of every module in the process; compiled code runs eagerly meanwhile.

    Torch holds them for as long as they are registered, so they hold their owner weakly: a monitor that is gone must
    not live on in a global dictionary. With the owner they are removed.
    """

    def __init__(self, pre_forward: Any, post_forward: Any) -> None:
        self.stance = EagerStance()
        self._pre_forward = _call_weakly(pre_forward)
        self._post_forward = _call_weakly(post_forward)
        self._pause: list[RemovableHandle] = []
        self._post_key = -1
        self._is_clean = True
        weakref.finalize(pre_forward.__self__, self.remove).atexit = False

    def register(self) -> None:
        """Register both hooks; registered ones are replaced."""
        if not self._is_clean:
            self._remove_hooks()
        self._is_clean = False
        self.stance.__enter__()
        register_module_forward_pre_hook(self._pre_forward)
        self._post_key = register_module_forward_hook(self._post_forward, always_call=True).id

    def remove(self) -> None:
        """Remove both hooks, also where an interrupt cut their registration short, so that no handle exists."""
        self._remove_hooks()
        self.stance.__exit__()
        self._end_pause()

    def pause_during(self, module: nn.Module) -> None:
        """Remove both hooks until the forward of ``module``, which is about to begin, is over.

        Where it is interrupted, until the next one begins.
        """

        def resume(*_: object) -> None:
            self._end_pause()
            self.register()

        self.remove()
        self._pause.append(module.register_forward_pre_hook(resume))
        self._pause.append(module.register_forward_hook(resume, always_call=True))

    def _end_pause(self) -> None:
        while self._pause:
            self._pause[-1].remove()
            self._pause.pop()

    def _remove_hooks(self) -> None:
        # The public way needs the handles, which an interrupt may have lost.
        _remove(torch_hooks._global_forward_pre_hooks, self._pre_forward)  # noqa: SLF001 - see above
        post_hooks = torch_hooks._global_forward_hooks  # noqa: SLF001 - see above
        # Others may have cleared the hooks: the key of ours is known also where the hook is gone.
        for key in [*_keys(post_hooks, self._post_forward), self._post_key]:
            torch_hooks._global_forward_hooks_always_called.pop(key, None)  # noqa: SLF001 - see above
        _remove(post_hooks, self._post_forward)
        self._is_clean = True


def caller_of_hooks() -> FrameType | None:
    """Return the innermost frame that is not the SDK's: within a hook, the call of the module that runs it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.currentframe() is this, with a check
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("relumine."):
        frame = frame.f_back
    return frame


def is_running(call: FrameType) -> bool:
    """Return True if ``call`` is on the stack of any thread. If it is over, its local variables are cleared.

    Torch runs no hook after a forward that a KeyboardInterrupt left, so that this is how one learns of it. Python
    refuses to clear a frame that runs. To walk the stack of another thread is no alternative: a garbage collection in
    the middle may let that thread go on, and CPython then writes to a frame that is gone.
    """
    try:
        call.clear()
    except RuntimeError:
        return True
    return False


def weakly(method: Any, *, default: bool) -> Callable[[], bool]:
    """Return a function that calls a method without holding its object; ``default`` once that is gone."""
    reference = weakref.ref(method.__self__)
    function = method.__func__

    def call() -> bool:
        owner = reference()
        return default if owner is None else bool(function(owner))

    return call


def _call_weakly(method: Any) -> Callable[..., Any]:
    # Not a WeakMethod, which is written in Python: the hooks run twice per module.
    reference = weakref.ref(method.__self__)
    function = method.__func__

    def hook(*args: Any) -> Any:
        owner = reference()
        return None if owner is None else function(owner, *args)

    return hook


def _keys(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> list[int]:
    return [key for key, registered in hooks.items() if registered is hook]


def _remove(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
    for key in _keys(hooks, hook):
        hooks.pop(key, None)
