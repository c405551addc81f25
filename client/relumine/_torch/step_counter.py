"""The steps of a run, counted at the steps of its optimizers, also where the training replaces one of them."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Collection, Iterable

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from relumine._torch.compile import run_outside_of_compiled_code
from relumine._torch.optimizers import parameter_ids, share_parameters
from relumine._torch.step_hook import STEP_CODE, StepCount, hook_after_steps, register_hook, remove_hook

# A step that another optimizer makes lies this many frames inside of it at most.
MAX_FRAMES_BETWEEN_STEPS = 12
# Looking for the other one costs a microsecond: at each of the first steps, then, where there was none, now and then.
FIRST_STEPS_LOOKED_AT = 20
LOOK_EVERY = 64

# Steps in a row of an optimizer that was not passed, with none of those that were, until it is followed.
STEPS_UNTIL_FOLLOWED = 3
# The same before any passed optimizer has stepped: a critic may come first, several times.
FIRST_STEPS_UNTIL_FOLLOWED = 10
# The same at most, where such an optimizer is known to step often between two steps of the passed ones.
MAX_STEPS_UNTIL_FOLLOWED = 30

# Optimizers that were not passed and are remembered. A training may make one per step.
MAX_STRANGERS = 64

# The optimizers whose steps any counter counts. One that another run has passed replaces none of this run, even where
# the models share a part.
_followed: weakref.WeakSet[Optimizer] = weakref.WeakSet()


class StepCounter:
    """Calls ``on_step`` once per step of the run: at each step of the leading optimizer.

    Several optimizers that step in turn (a GAN, an encoder and a decoder) make one step of the run per round. Where an
    optimizer steps twice without a step of the leader between (more critic steps, a phase that trains another part),
    it becomes the leader. A step that one optimizer makes inside the step of another (SAM, Lookahead) belongs to it.

    An optimizer that was not passed is followed once it trains watched parameters and steps again and again while
    none of the others does: it has replaced them, as after unfreezing. One that steps in turn with them is not.

    After ``rest_until`` the hook itself counts the steps of the leader up to that one, without a call of ``on_step``.

    Attributes:
        optimizers: those whose steps are counted; the list changes in place when one is replaced.
        count: the steps so far, and the next one at which ``on_step`` is called.
        steps_of_others: steps of other optimizers that hold a watched parameter, however they were counted.
    """

    steps_of_others = 0
    _looks = 0
    _next_look = 0
    _longest_run = 0
    # Steps in a row of optimizers of no run, since ``count.step`` was as it is here.
    _foreign_steps = 0
    _most_foreign_steps = 0
    _streak_step = 0

    def __init__(
        self,
        optimizers: Iterable[Optimizer],
        on_step: Callable[[], None],
        *,
        count: StepCount | None = None,
        watched_parameters: Callable[[], Collection[int]] = frozenset,
        on_replaced: Callable[[Optimizer, int], None] | None = None,
        on_uncounted: Callable[[int], None] | None = None,
    ) -> None:
        """Register the hooks.

        ``watched_parameters`` returns the ids of the parameters of the watched models. ``on_replaced`` is called with
        an optimizer that is followed from now on and the number of steps it made that were not counted.
        ``on_uncounted`` is called with a number of steps that were not counted when they were made.
        """
        self.count = StepCount() if count is None else count
        self.optimizers = self.count.optimizers
        self._on_step = on_step
        self._watched_parameters = watched_parameters
        self._on_replaced = on_replaced
        self._on_uncounted = on_uncounted
        self._handles: dict[int, RemovableHandle] = {}
        self._has_counted = False
        self._steps_since_leader: dict[int, int] = {}
        # The first optimizer of ours that stepped inside a step that has not ended yet.
        self._inner: Optimizer | None = None
        # Optimizers that were not passed, by id: whether they hold a watched parameter, and their steps in a row.
        self._strangers: dict[int, tuple[weakref.ref[Optimizer], bool]] = {}
        self._run_lengths: dict[int, int] = {}
        for optimizer in optimizers:
            self._follow(optimizer)
        self._step_hook = self._register_step_hook()

    @property
    def foreign_steps(self) -> int:
        """Steps in a row of optimizers of no run, whatever they train, since the latest of ours."""
        self._notice_counted_steps()
        return self._foreign_steps

    @property
    def most_foreign_steps(self) -> int:
        """The most of them between two steps of ours."""
        self._notice_counted_steps()
        return self._most_foreign_steps

    def rest_until(self, step: int) -> None:
        """Have ``on_step`` called at this step, and not before."""
        self.count.next_call = min(step, self._next_look) if self.optimizers else step

    def stop(self) -> None:
        """Remove all hooks."""
        self.count.next_call = 0
        remove_hook(self._step_hook)
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        for optimizer in self.optimizers:
            _followed.discard(optimizer)

    def _follow(self, optimizer: Optimizer) -> None:
        if id(optimizer) in self._handles:
            return
        self.optimizers.append(optimizer)
        _followed.add(optimizer)
        # The optimizer holds this object by a hook, and with it the session: both live as long as the optimizer.
        self._handles[id(optimizer)] = optimizer.register_load_state_dict_post_hook(self._do_nothing)
        if self.count.leader is None:
            self.count.leader = optimizer

    def _do_nothing(self, _optimizer: Optimizer) -> None:
        """Be registered where it costs a step nothing."""

    def _register_step_hook(self) -> RemovableHandle:
        """Register the hook on the steps of all optimizers. It holds this object weakly."""
        counter = weakref.ref(self)

        def on_step(optimizer: Optimizer) -> None:
            living = counter()
            if living is not None:
                living._on_any_step(optimizer)  # noqa: SLF001 - a method of this class

        handle = register_hook(hook_after_steps(self.count, run_outside_of_compiled_code(on_step)))
        weakref.finalize(self, remove_hook, handle).atexit = False
        return handle

    def _on_any_step(self, optimizer: Optimizer) -> None:
        if id(optimizer) in self._handles:
            self._on_own_step(optimizer)
        else:
            self._on_other_step(optimizer)

    def _on_own_step(self, optimizer: Optimizer) -> None:
        self._notice_counted_steps()
        if self.count.step + 1 >= self._next_look:
            self._looks += 1
            if _is_inside_of_another_step():
                self._next_look = 0
                if self._inner is None:
                    self._inner = optimizer
                return
            if self._inner is None and self._looks > FIRST_STEPS_LOOKED_AT:
                self._next_look = self.count.step + 1 + LOOK_EVERY
        self._inner = None
        self._count(optimizer)

    def _count(self, optimizer: Optimizer) -> None:
        """Count a step that has ended, if it is one of the leader's."""
        self._end_streak_of_others()
        if len(self.optimizers) > 1 and not self._leads(optimizer):
            return
        self._has_counted = True
        self._on_step()

    def _end_streak_of_others(self) -> None:
        """Restart the count of the steps of others: there was one of ours."""
        self._streak_step = self.count.step
        self._most_foreign_steps = max(self._most_foreign_steps, self._foreign_steps)
        self._foreign_steps = 0
        if self._run_lengths:
            self._longest_run = max(self._longest_run, *self._run_lengths.values())
            self._run_lengths.clear()

    def _notice_counted_steps(self) -> None:
        """Make up for the steps of the leader that its hook has counted alone."""
        if self._streak_step != self.count.step:
            self._end_streak_of_others()
            self._steps_since_leader.clear()

    def _leads(self, optimizer: Optimizer) -> bool:
        """Return True if the optimizer is the leader, or becomes it by its second step since the leader's latest."""
        key = id(optimizer)
        is_leader = optimizer is self.count.leader
        self._steps_since_leader[key] = self._steps_since_leader.get(key, 0) + 1
        if not is_leader and self._steps_since_leader[key] < 2:
            return False
        # The one that was passed first was only presumed to lead: the step before this one was not counted.
        if not is_leader and not self._has_counted and self._on_uncounted is not None:
            self._on_uncounted(1)
        self.count.leader = optimizer
        self._steps_since_leader.clear()
        return True

    def _on_other_step(self, optimizer: Optimizer) -> None:
        inner = self._inner
        self._inner = None
        if inner is not None:
            self._count(inner)  # the other one is a wrapper that has just made a step of ours
            return
        self._notice_counted_steps()
        if optimizer not in _followed:
            self._foreign_steps += 1
        if not self._holds_watched_parameter(optimizer):
            return
        self.steps_of_others += 1
        if not self.optimizers or optimizer in _followed:
            return  # the training calls ``Monitor.step``, or the optimizer belongs to another run
        self._run_lengths[id(optimizer)] = self._run_lengths.get(id(optimizer), 0) + 1
        if self._replaces_others(optimizer):
            self._replace_by(optimizer)

    def _replaces_others(self, optimizer: Optimizer) -> bool:
        """Return True if this optimizer has stepped so often, and none of ours since, that it replaces them."""
        needed = STEPS_UNTIL_FOLLOWED
        if self._longest_run:
            needed = min(max(needed, 2 * self._longest_run + 1), MAX_STEPS_UNTIL_FOLLOWED)
        if not self._has_counted:
            needed = FIRST_STEPS_UNTIL_FOLLOWED
        # Where a training makes a new optimizer for every few steps, none of them steps often.
        return self._run_lengths[id(optimizer)] >= needed or sum(self._run_lengths.values()) >= 3 * needed

    def _uncounted_steps(self, optimizer: Optimizer) -> int:
        """Return the steps of the present run that were not counted, before the one that has just ended."""
        steps = 0
        for key, length in self._run_lengths.items():
            other = self._strangers[key][0]() if key in self._strangers else None
            if other is None or share_parameters(other, optimizer):
                steps += length
        return steps - 1

    def _replace_by(self, optimizer: Optimizer) -> None:
        """Follow the optimizer in place of those that trained one of its parameters."""
        uncounted_steps = self._uncounted_steps(optimizer)
        for other in list(self.optimizers):
            if share_parameters(other, optimizer):
                self.optimizers.remove(other)
                _followed.discard(other)
                self._handles.pop(id(other)).remove()
        self.count.leader = None
        self._steps_since_leader.clear()
        self._run_lengths.clear()
        self._strangers.clear()
        self._follow(optimizer)
        self.count.leader = optimizer
        if self._on_replaced is not None:
            self._on_replaced(optimizer, uncounted_steps)
        self._count(optimizer)

    def _holds_watched_parameter(self, optimizer: Optimizer) -> bool:
        known = self._strangers.get(id(optimizer))
        if known is not None and known[0]() is optimizer:
            return known[1]
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.clear()
        try:
            holds_one = not parameter_ids(optimizer).isdisjoint(self._watched_parameters())
        except Exception:  # noqa: BLE001 - an optimizer of others, of whatever kind, must not end the training
            holds_one = False
        self._strangers[id(optimizer)] = (weakref.ref(optimizer), holds_one)
        return holds_one


def _is_inside_of_another_step() -> bool:
    """Return True if the step whose hook this is called from was made by the step of another optimizer.

    Asked of the call stack, which an exception in the middle of a step leaves in order. Also true where a subclass
    calls the step of its base class and torch runs the hooks for both.
    """
    frame = sys._getframe(3)  # noqa: SLF001 - torch has no public query for it
    steps = 0
    for _ in range(MAX_FRAMES_BETWEEN_STEPS):
        if frame.f_code is STEP_CODE:
            steps += 1
            if steps == 2:
                return True
        caller = frame.f_back
        if caller is None:
            return False
        frame = caller
    return False
