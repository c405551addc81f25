"""Global hooks that capture the pre-activations of the watched models during one sampled step.

The model itself carries nothing, so it can be copied, pickled and saved at any time. Torch's global module hooks follow
where the forward is; from the entry to the exit of the outermost watched module a function mode observes each
activation before it runs, however it is spelled. The producer is found by identity: the tensor that a Linear,
convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from relumine._capture.activation_mode import ActivationMode
from relumine._capture.call_sites import call_arguments, calling_module
from relumine._capture.forward_counter import ForwardCounter
from relumine._capture.forward_trace import ForwardTrace
from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.layer_sites import LayerKey, LayerSites
from relumine._capture.model_io import ModelIORecorder
from relumine._capture.step_stats import NORMS_EVERY, SampledForwards, SampledStep
from relumine._capture.taps import Taps
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch.compile import is_captured, is_optimized
from relumine._torch.forward import is_backward_running, register_observer
from relumine._torch.global_hooks import GlobalHooks, caller_of_hooks, is_running, weakly
from relumine._torch.modules import ModuleNames
from relumine._torch.unwrap import call_unseen

# Calls of other modules in a row, without one of ours, after which a training counts as abandoned in the middle of a
# sampled step: what else the process computes should not pay for hooks that wait for it.
MAX_OTHER_CALLS = 100_000


class ForwardHooks:
    """Hooks on the watched models, attached for one step at a time, and the recorders of their layers.

    ``layers`` grows in order of first use. ``sites`` also knows the activations that are no layers. ``on_forward`` is
    called before each forward that is captured, with their number on the step being sampled.
    """

    def __init__(self, names: ModuleNames, overhead: Overhead, guard: ErrorGuard) -> None:
        self.sites = LayerSites(names)
        self.model_io = ModelIORecorder()
        self.names = names
        self._watched_ids = names.ids
        self._hooks = GlobalHooks(self._pre_forward, self._post_forward)
        self.stance = self._hooks.stance
        self._taps = Taps(self.sites)
        self._forward_counter = ForwardCounter(names)
        self.attached = False
        self.on_forward: Callable[[int], None] | None = None
        self._overhead = overhead
        self._guard = guard
        # The step being sampled.
        self._trace = ForwardTrace(names, self.sites, weakly(self._is_forward_running, default=False))
        self._next_norms_step = 0
        self._thread = 0
        self._detach_after_forward = False
        self._mode_stays = False
        self._other_calls = 0
        self._forward_ran = False
        self._modules_run: set[int] = set()
        self._modules_evaluated: set[int] = set()
        # The forward being captured.
        self._mode: ActivationMode | None = None
        self._outermost_call: FrameType | None = None
        self._module_stack = self._trace.module_stack
        register_observer(self)

    @property
    def layers(self) -> dict[LayerKey, LayerRecorder]:
        """The recorders of the layers found so far."""
        return self.sites.layers

    def attach(self, step: int) -> None:
        """Register the hooks for ``step``. Compiled code runs eagerly on it: its graph has no place for hooks."""
        if self.attached:
            return
        self.attached = True
        self._forward_counter.stop()
        self._thread = threading.get_ident()
        self._other_calls = 0
        with_norms = step >= self._next_norms_step
        if with_norms:
            self._next_norms_step = step + NORMS_EVERY
        self._trace.step = SampledStep(step, with_norms, self._trace.step.forward)
        self._forward_ran = False
        self._trace.activity.clear()
        self._modules_run.clear()
        self._modules_evaluated.clear()
        self._hooks.register()

    @property
    def forward_count(self) -> int:
        """The training forwards since the latest step, as far as they were captured or counted."""
        return self._trace.activity.forwards if self.attached else self._forward_counter.count

    def count_forwards(self, is_counting: bool) -> None:  # noqa: FBT001 - it is what the method is about
        """Begin or stop to count forwards without capturing them. May be called in any thread.

        Not for compiled models, which would be compiled again.
        """
        if is_counting and not self.attached:
            self._forward_counter.start()
        if not is_counting or self._detach_after_forward:  # also where the run was closed meanwhile, in its own thread
            self._forward_counter.stop()

    def detach(self) -> None:
        """Remove the hooks."""
        self.attached = False
        self._stop_capture()
        self._hooks.remove()
        self._forward_counter.stop()

    def detach_after_forward(self) -> None:
        """Remove the hooks, but not in the middle of a forward: a mode that handles a call cannot be removed."""
        self._detach_after_forward = True
        if not self._is_forward_running():
            self.detach()

    def suspend(self) -> bool:
        """Take the hooks off for a forward that is no part of the training; return False if they are not attached."""
        if not self.attached or threading.get_ident() != self._thread:
            return False
        self.attached = False
        if not self._is_forward_running():
            self._stop_capture()
        self._hooks.remove()
        return True

    def resume(self) -> None:
        """Register the hooks again for the same step."""
        self.attached = True
        self._hooks.register()

    def discard_step(self) -> None:
        """Remove the hooks and forget the sampled step: an interrupt came while it was being collected."""
        self.detach()
        for layer in self.layers.values():
            layer.discard()

    def forwards(self) -> SampledForwards:
        """Return what the forwards of the sampled step were."""
        return self._trace.activity.summary(recorded=any(layer.is_recorded for layer in self.layers.values()))

    def missing_layers(self) -> list[LayerRecorder]:
        """Return the layers that this step should have recorded and did not."""
        return self.sites.missing(self._modules_run, self._modules_evaluated, forward_ran=self._forward_ran)

    def tap(self, name: str, z: Any, threshold: Any, mask: Any) -> None:
        """Record a pre-activation that no torch function reads, as a layer with this name. Raises UnusableValue."""
        if not self.attached or not torch.is_grad_enabled() or is_backward_running():
            return
        try:
            torch.set_grad_enabled(False)
            self._taps.record(name, z, threshold, mask, self._trace)
        finally:
            torch.set_grad_enabled(True)

    def _pre_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread or not self._is_due():
            return
        if is_optimized(module):
            self._pre_compiled_forward(module)
        if id(module) not in self._watched_ids:
            self._other_calls += 1
            return
        started = perf_counter()
        try:
            if self._outermost_call is None:
                call_unseen(self._push_outermost, module, inputs, torch.is_grad_enabled())
            else:
                self._push_module(module)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            self._guard.handle("forward", error)
        except BaseException:
            self._stop_capture()
            raise
        self._overhead.training_s += perf_counter() - started + HOOK_CALL_S

    def _is_due(self) -> bool:
        """Return True while the step is being sampled; clean up after a forward that was interrupted.

        Torch calls no hook after a forward that a KeyboardInterrupt left, so the next call of any module does it.
        """
        if self._outermost_call is not None:
            if self._is_forward_running():
                return True
            self._stop_capture()
        if not self.attached or self._detach_after_forward or self._other_calls > MAX_OTHER_CALLS:
            self.detach()
        return self.attached

    def _is_forward_running(self) -> bool:
        return self._outermost_call is not None and is_running(self._outermost_call)

    def _pre_compiled_forward(self, module: nn.Module) -> None:
        """Make a compiled module run eagerly if it trains; leave it compiled if it is evaluated."""
        if torch.is_grad_enabled():
            self.stance.__enter__()  # it may have been compiled after attach(), which then had no stance to set
            return
        # An evaluation between two optimizer steps may be long, so it stays compiled. Dynamo would trace the hooks into
        # its graph, so they are removed until the module returns.
        self._hooks.pause_during(module)

    def _push_outermost(self, module: nn.Module, inputs: tuple[Any, ...], has_gradients: bool) -> None:  # noqa: FBT001 - see call_unseen
        self._outermost_call = caller_of_hooks()
        self._module_stack.append(module)
        self._start_capture(module, inputs, has_gradients=has_gradients)
        self._note_call(module)

    def _push_module(self, module: nn.Module) -> None:
        """Follow the forward into a module. Calls nothing of torch: modes need not be kept from seeing it."""
        self._module_stack.append(module)
        self._note_call(module)

    def _note_call(self, module: nn.Module) -> None:
        self._other_calls = 0
        if self._mode is not None:
            (self._modules_run if module.training else self._modules_evaluated).add(id(module))

    def _start_capture(self, module: nn.Module, inputs: tuple[Any, ...], *, has_gradients: bool) -> None:
        """Enter the function mode if the forward trains, unless activation checkpointing recomputes it."""
        self._forward_ran = True
        self._trace.is_training = False
        if not has_gradients or is_backward_running() or is_captured():
            return
        activity = self._trace.activity
        activity.add(is_training=module.training)
        if self.on_forward is not None:
            self.on_forward(activity.forwards)
        if not self.attached:  # ``on_forward`` has detached the hooks
            return
        examples = None
        if module.training:
            keep_sample = self._trace.step.with_norms
            examples = self.model_io.record_input(call_arguments(module, inputs), keep_sample=keep_sample)
        self._trace.begin(examples)
        # Called by another method of a watched model, which may apply a ReLU to what the module returns: the mode then
        # stays until the step ends.
        self._mode_stays = calling_module(self.names, id(module)) is not None
        if self._mode is None:
            self._mode = ActivationMode(self._trace, self._overhead, self._guard)
            self._mode.enter()

    def _post_forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if not self._module_stack or id(module) not in self._watched_ids:
            return
        started = perf_counter()
        try:
            self._pop_module(module, inputs, output)
        except Exception as error:  # noqa: BLE001 - as above
            self._guard.handle("forward", error)
        except BaseException:
            self._stop_capture()
            raise
        self._overhead.training_s += perf_counter() - started + HOOK_CALL_S

    def _pop_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        stack = self._module_stack
        if stack[-1] is not module and module not in stack:  # a hook of others raised before ours was called
            return
        # Modules above it on the stack raised: their post-forward hooks did not run.
        while stack.pop() is not module:
            continue
        if self._mode is not None and isinstance(output, Tensor) and not self._trace.is_remembered(output, module):
            call_unseen(self._trace.remember_output, module, inputs, output)
        if not self._module_stack:
            call_unseen(self._end_forward, module, output)

    def _end_forward(self, module: nn.Module, output: Any) -> None:
        was_captured = self._mode is not None
        if self._mode_stays:
            self._outermost_call = None
        else:
            self._stop_capture()
        if was_captured and module.training and self._trace.step.with_norms:
            self.model_io.record_output(output)
        # Torch iterates over its hooks while one raises: they are removed before the next forward then.
        if self._detach_after_forward and sys.exc_info()[1] is None:
            self.detach()

    def _stop_capture(self) -> None:
        """Leave the forward, at its end or after it was interrupted; may itself be interrupted and called again."""
        if self._mode is not None:
            self._mode.leave()
        self._mode = None
        self._outermost_call = None
        self._trace.clear()
