"""Global hooks that capture the pre-activations of the watched models during one sampled step.

The model itself carries nothing, so it can be copied, pickled and saved at any time. Torch's global module hooks follow
where the forward is; from the entry to the exit of the outermost watched module a function mode observes each
activation before it runs, however it is spelled. The producer is found by identity: the tensor that a Linear,
convolution or BatchNorm returned is the very tensor that the activation reads.
"""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from relumine._capture import unit_sums
from relumine._capture.activation_mode import ActivationMode
from relumine._capture.layer_recorder import LayerRecorder, SampledStep
from relumine._capture.model_io import ModelIORecorder
from relumine._capture.producers import ModuleOutput, RecentOutputs, find_producer
from relumine._capture.taps import Taps
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch import function_modes
from relumine._torch.activations import Activation
from relumine._torch.compile import is_captured, is_optimized
from relumine._torch.forward import is_backward_running
from relumine._torch.global_hooks import GlobalHooks, caller_of_hooks, is_running
from relumine._torch.modules import ModuleNames

# Steps between two samples of norms, model input and output: every sample of the regular interval, few of a burst.
NORMS_EVERY = 7

# Calls of other modules in a row, without one of ours, after which a training counts as abandoned in the middle of a
# sampled step: what else the process computes should not pay for hooks that wait for it.
MAX_OTHER_CALLS = 100_000


class ForwardHooks:
    """Hooks on the watched models, attached for one step at a time, and the recorders of their layers.

    ``layers`` grows in order of first use. Its keys are the id of a module and the number of the activation in it.
    """

    def __init__(self, names: ModuleNames, overhead: Overhead, guard: ErrorGuard) -> None:
        self.layers: dict[tuple[int, int], LayerRecorder] = {}
        self.model_io = ModelIORecorder()
        self.names = names
        self.attached = False
        self._taps = Taps(self.layers, self._add_layer)
        self._hooks = GlobalHooks(self._pre_forward, self._post_forward)
        self.stance = self._hooks.stance
        self._overhead = overhead
        self._guard = guard
        # The step being sampled.
        self._step = SampledStep(0, with_norms=True)
        self._next_norms_step = 0
        self._thread = 0
        self._detach_after_forward = False
        self._other_calls = 0
        self._forward_ran = False
        self._modules_run: set[int] = set()
        # The forward being captured.
        self._mode: ActivationMode | None = None
        self._outermost_call: FrameType | None = None
        self._module_stack: list[nn.Module] = []
        self._recent_outputs = RecentOutputs()
        self._activation_calls: dict[int, int] = {}
        self._examples: int | None = None

    def attach(self, step: int) -> None:
        """Register the hooks for ``step``. Compiled code runs eagerly on it: its graph has no place for hooks."""
        if self.attached:
            return
        self.attached = True
        self._thread = threading.get_ident()
        self._other_calls = 0
        with_norms = step >= self._next_norms_step
        if with_norms:
            self._next_norms_step = step + NORMS_EVERY
        self._step = SampledStep(step, with_norms)
        self._forward_ran = False
        self._modules_run.clear()
        self._hooks.register()

    def detach(self) -> None:
        """Remove the hooks."""
        self.attached = False
        self._stop_capture()
        self._hooks.remove()

    def detach_after_forward(self) -> None:
        """Remove the hooks, but not in the middle of a forward: a mode that handles a call cannot be removed."""
        self._detach_after_forward = True
        if not self._is_forward_running():
            self.detach()

    def discard_step(self) -> None:
        """Remove the hooks and forget the sampled step: an interrupt came while it was being collected."""
        self.detach()
        for layer in self.layers.values():
            layer.discard()

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

    def tap(self, name: str, z: Any, threshold: Any, mask: Any) -> None:
        """Record a pre-activation that no torch function reads, as a layer with this name. Raises UnusableValue."""
        if not self.attached or not torch.is_grad_enabled() or is_backward_running():
            return
        try:
            torch.set_grad_enabled(False)
            self._taps.record(name, z, threshold, mask, self._step)
        finally:
            torch.set_grad_enabled(True)

    def _pre_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread or not self._is_due():
            return
        if is_optimized(module):
            self._pre_compiled_forward(module)
        if module not in self.names:
            self._other_calls += 1
            return
        started = perf_counter()
        try:
            self._push_module(module, inputs)
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
        return self._outermost_call is not None and is_running(self._outermost_call, self._thread)

    def _pre_compiled_forward(self, module: nn.Module) -> None:
        """Make a compiled module run eagerly if it trains; leave it compiled if it is evaluated."""
        if torch.is_grad_enabled():
            self.stance.__enter__()  # it may have been compiled after attach(), which then had no stance to set
            return
        # An evaluation between two optimizer steps may be long, so it stays compiled. Dynamo would trace the hooks into
        # its graph, so they are removed until the module returns.
        self._hooks.pause_during(module)

    def _push_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._other_calls = 0
        is_outermost = self._outermost_call is None
        if is_outermost:
            self._outermost_call = caller_of_hooks()
        self._module_stack.append(module)
        if is_outermost:
            self._start_capture(module, inputs)
        if self._mode is not None and module.training:
            self._modules_run.add(id(module))

    def _start_capture(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Enter the function mode if the forward trains, unless activation checkpointing recomputes it."""
        self._forward_ran = True
        if not torch.is_grad_enabled() or is_backward_running() or is_captured():
            return
        self._activation_calls.clear()
        self._examples = None
        if module.training:
            self._examples = self.model_io.record_input(inputs, keep_sample=self._step.with_norms)
        self._mode = ActivationMode(self._on_activation, self._overhead, self._guard)
        function_modes.push_below_others(self._mode)

    def _post_forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if not self._module_stack or module not in self.names:
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
        if module not in self._module_stack:  # a hook of others raised before ours was called
            return
        # Modules above it on the stack raised: their post-forward hooks did not run.
        while self._module_stack.pop() is not module:
            continue
        if self._mode is not None and isinstance(output, Tensor):
            module_input = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
            self._recent_outputs.remember(output, module, module_input)
        if not self._module_stack:
            was_captured = self._mode is not None
            self._stop_capture()
            if was_captured and module.training and self._step.with_norms:
                self.model_io.record_output(output)
            # Torch iterates over its hooks while one raises: they are removed before the next forward then.
            if self._detach_after_forward and sys.exc_info()[1] is None:
                self.detach()

    def _stop_capture(self) -> None:
        """Leave the forward, at its end or after it was interrupted; may itself be interrupted and called again."""
        if self._mode is not None:
            self._mode.stop()
            function_modes.remove(self._mode)
        self._mode = None
        self._outermost_call = None
        self._recent_outputs.clear()
        self._module_stack.clear()

    def _on_activation(self, activation: Activation, z: Tensor) -> None:
        # After an interrupted forward the mode sees calls of others, until the next module call removes it.
        if not self._is_forward_running():
            return
        module = self._module_stack[-1]
        call = self._activation_calls.get(id(module), 0) + 1
        self._activation_calls[id(module)] = call
        if not module.training:
            return
        key = (id(module), call)
        layer = self.layers.get(key)
        name = self.names.activation_name(module, activation, call) if layer is None else layer.name
        if name is None:
            return
        output = self._recent_outputs.pop(z)
        with torch.no_grad():
            if layer is None:
                layer = self._add_layer(key, name, activation, z, output=output)
            if not layer.can_die or not z.numel():
                return
            from_producer = output is not None and output.module is layer.producer
            producer_input = output.input if output is not None and from_producer else None
            layer.record(z, producer_input, self._step, from_producer=from_producer)

    def _add_layer(
        self,
        key: tuple[int, int],
        name: str,
        activation: Activation,
        z: Tensor,
        *,
        output: ModuleOutput | None = None,
        masked: bool = False,
    ) -> LayerRecorder:
        """Create the recorder of a layer at its first use. ``output``: the module output that ``z`` is, if any."""
        info = find_producer(z, output, self._recent_outputs.latest(), self.names.path)
        channels_first = info.channels_first and not masked
        layer = LayerRecorder(
            layer_id=len(self.layers) + 1,
            name=name,
            activation=activation.name,
            can_die=activation.can_die,
            units=z.shape[unit_sums.unit_dim(z, channels_first=channels_first)],
            channels_first=channels_first,
            has_positions=z.dim() > 2,
            module_id=key[0],
            counts_positions=masked or self._counts_positions(z),
            producer=info.producer,
            producer_name=None if info.producer is None else self.names.path(info.producer),
            split=info.split,
            missing=info.missing if activation.can_die else [],
        )
        self.layers[key] = layer
        return layer

    def _counts_positions(self, z: Tensor) -> bool:
        """Return True if the first dimension of ``z`` does not hold the examples of the model's input."""
        return self._examples is not None and z.dim() > 1 and z.shape[0] != self._examples
