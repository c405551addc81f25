"""Global hooks that capture the pre-activations of the watched models during one sampled step.

The model itself carries nothing, so it can be copied, pickled and saved at any time. Torch's global module hooks follow
where the forward is; from the entry to the exit of the outermost watched module a function mode observes each
activation before it runs, however it is spelled. The producer is found by identity: the tensor that a Linear,
convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from relumine._capture.activation_mode import ActivationMode
from relumine._capture.call_sites import calling_module, keyword_arguments
from relumine._capture.forward_trace import ForwardTrace
from relumine._capture.layer_recorder import LayerRecorder, SampledStep
from relumine._capture.layer_sites import LayerKey, LayerSites
from relumine._capture.model_io import ModelIORecorder
from relumine._capture.producers import UNKNOWN_PRODUCER, ProducerInfo
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch.activations import Activation
from relumine._torch.compile import EagerStance, is_captured, is_optimized
from relumine._torch.forward import is_backward_running
from relumine._torch.modules import ModuleNames
from relumine._torch.tensors import first_tensor
from relumine._torch.unwrap import is_function_mode_active, without_torch_functions

TAPPED = Activation("tapped", can_die=True)

# Steps between two samples of norms, model input and output: every sample of the regular interval, few of a burst.
NORMS_EVERY = 7


class ForwardHooks:
    """Hooks on the watched models, attached for one step at a time, and the recorders of their layers.

    ``layers`` grows in order of first use. ``sites`` also knows the activations that are no layers.
    """

    def __init__(self, names: ModuleNames, overhead: Overhead, guard: ErrorGuard) -> None:
        self.sites = LayerSites(names)
        self.model_io = ModelIORecorder()
        self.names = names
        self.stance = EagerStance()
        self.attached = False
        self._overhead = overhead
        self._guard = guard
        # The step being sampled.
        self._trace = ForwardTrace(names, self.sites)
        self._next_norms_step = 0
        self._thread = 0
        self._registered = ExitStack()
        self._detach_after_forward = False
        self._mode_stays = False
        self._forward_ran = False
        self._modules_run: set[int] = set()
        # The forward being captured.
        self._mode: ActivationMode | None = None
        self._module_stack = self._trace.module_stack

    @property
    def layers(self) -> dict[LayerKey, LayerRecorder]:
        """The recorders of the layers found so far."""
        return self.sites.layers

    def attach(self, step: int) -> None:
        """Register the hooks for ``step``. Compiled code runs eagerly on it: its graph has no place for hooks."""
        if self.attached:
            return
        self.attached = True
        self._thread = threading.get_ident()
        with_norms = step >= self._next_norms_step
        if with_norms:
            self._next_norms_step = step + NORMS_EVERY
        self._trace.step = SampledStep(step, with_norms, self._trace.step.forward)
        self._forward_ran = False
        self._modules_run.clear()
        self._register()

    def detach(self) -> None:
        """Remove the hooks."""
        self.attached = False
        self._stop_capture()
        self._remove()

    def detach_after_forward(self) -> None:
        """Remove the hooks, but not in the middle of a forward: a mode has to be left where it was entered."""
        self._detach_after_forward = True
        if not self._module_stack:
            self.detach()

    def missing_layers(self) -> list[LayerRecorder]:
        """Return the layers that this step should have recorded and did not.

        Their module ran, in training mode, and none of its activations was observed; or no forward was observed at
        all, though the optimizer stepped. A layer whose module did not run (routing, alternation) or is frozen in eval
        mode is not missing.
        """
        recorded = {layer.module_id for layer in self.layers.values() if layer.is_recorded}
        missing = []
        for layer in self.layers.values():
            if not layer.can_die or not layer.module_id or layer.module_id in recorded:
                continue
            if layer.module_id in self._modules_run or not self._forward_ran:
                missing.append(layer)
        return missing

    def tap(self, name: str, z: Tensor, mask: Tensor | None) -> None:
        """Record a pre-activation that no torch function reads, as a layer with the given name."""
        if not self.attached or not torch.is_grad_enabled() or is_backward_running() or not z.numel():
            return
        with torch.no_grad():
            key = (0, hash(name), z.shape[-1] if z.dim() else 1)
            layer = self.layers.get(key)
            if layer is None:
                name = f"{name}@{z.shape[-1]}" if any(other[:2] == key[:2] for other in self.layers) else name
                layer = self.sites.add_fixed(key, name, TAPPED, z, ProducerInfo(None, "none", [UNKNOWN_PRODUCER]))
                layer.counts_positions = mask is not None or self._counts_positions(z)
            if mask is None:
                layer.record(z.detach(), max(z.dim() - 1, 0), None, self._trace.step)
            else:
                layer.record_masked(z, mask)

    def _counts_positions(self, z: Tensor) -> bool:
        """Return True if the first dimension of ``z`` does not hold the examples of the model's input."""
        return self._trace.examples is not None and z.dim() > 1 and z.shape[0] != self._trace.examples

    def _register(self) -> None:
        self._registered.enter_context(self.stance)
        self._registered.enter_context(register_module_forward_pre_hook(self._pre_forward))
        self._registered.enter_context(register_module_forward_hook(self._post_forward, always_call=True))

    def _remove(self) -> None:
        self._registered.close()

    def _pre_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread:
            return
        if is_optimized(module):
            self._pre_compiled_forward(module)
        if module not in self.names:
            return
        started = perf_counter()
        try:
            with without_torch_functions():
                self._push_module(module, inputs)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            self._guard.handle("forward", error)
        self._overhead.training_s += perf_counter() - started + HOOK_CALL_S

    def _pre_compiled_forward(self, module: nn.Module) -> None:
        """Make a compiled module run eagerly if it trains; leave it compiled if it is evaluated."""
        if torch.is_grad_enabled():
            # It may have been compiled after attach(), which then had no stance to set.
            self._registered.enter_context(self.stance)
            return

        # An evaluation between two optimizer steps may be long, so it stays compiled. Dynamo would trace the hooks into
        # its graph, so they are removed until the module returns.
        def register_again(*_: object) -> None:
            handle.remove()
            if self.attached:
                self._register()

        self._remove()
        handle = module.register_forward_hook(register_again, always_call=True)

    def _push_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        # The outermost module begins again: a KeyboardInterrupt skipped its post-forward hook.
        if self._module_stack and self._module_stack[0] is module:
            self._stop_capture()
        is_outermost = not self._module_stack
        self._module_stack.append(module)
        if is_outermost:
            self._start_capture(module, inputs)
        if self._mode is not None and module.training:
            self._modules_run.add(id(module))

    def _start_capture(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Enter the function mode if the forward trains, unless activation checkpointing recomputes it."""
        self._forward_ran = True
        self._trace.is_training = False
        if not torch.is_grad_enabled() or is_backward_running() or is_captured():
            return
        examples = None
        if module.training:
            keep_sample = self._trace.step.with_norms
            examples = self.model_io.record_input(_arguments(module, inputs), keep_sample=keep_sample)
        self._trace.begin(examples)
        # Called by another method of a watched model, which may apply a ReLU to what the module returns: the mode then
        # stays until the step ends. It cannot where a mode of the user lies below: that one's exit would take it away.
        is_alone = self._mode is not None or not is_function_mode_active()
        self._mode_stays = is_alone and calling_module(self.names, id(module)) is not None
        if self._mode is None:
            self._mode = ActivationMode(self._trace, self._overhead, self._guard)
            self._mode.enter()

    def _post_forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if not self._module_stack or module not in self.names:
            return
        started = perf_counter()
        try:
            with without_torch_functions():
                self._pop_module(module, inputs, output)
        except Exception as error:  # noqa: BLE001 - as above
            self._guard.handle("forward", error)
        self._overhead.training_s += perf_counter() - started + HOOK_CALL_S

    def _pop_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # Modules above it on the stack raised: their post-forward hooks did not run.
        while self._module_stack and self._module_stack.pop() is not module:
            continue
        if self._mode is None:
            return
        if isinstance(output, Tensor):
            module_input = first_tensor(_arguments(module, inputs))
            self._trace.recent_outputs.remember(output, module, module_input)
        if not self._module_stack:
            if not self._mode_stays:
                self._stop_capture()
            if module.training and self._trace.step.with_norms:
                self.model_io.record_output(output)
            if self._detach_after_forward:
                self.detach()

    def _stop_capture(self) -> None:
        self._trace.clear()
        mode = self._mode
        self._mode = None
        # A function mode belongs to the thread that entered it.
        if mode is not None and threading.get_ident() == self._thread:
            mode.leave()


def _arguments(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Return the arguments of a module's forward that hold its input: by position, else by keyword."""
    return inputs if first_tensor(inputs) is not None else keyword_arguments(module)
