"""The forward being captured: its running modules, their outputs, and the activations recorded in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relumine._capture.call_sites import call_arguments, calling_module
from relumine._capture.composed_relus import COMPOSED, REMEMBERED, ComposedRelus
from relumine._capture.forward_counter import ForwardActivity
from relumine._capture.layer_sites import ActivationCall, LayerSites
from relumine._capture.producers import WEIGHTED, LayerCall, ProducerInfo, RecentOutputs
from relumine._capture.rnn_states import RNN_CALLS, SUM_WITH_STATE, rnn_preactivations
from relumine._capture.step_stats import SampledStep
from relumine._torch.activations import RELU, Activation, match_activation
from relumine._torch.modules import ModuleNames
from relumine._torch.tensors import first_tensor
from relumine._torch.unwrap import unwrap

OUTSIDE = "not observed: it acts outside of the watched model, on what the model returned"


class ForwardTrace:
    """Follows one forward and records its activations. To be called without gradients (``call_unseen``).

    Attributes:
        module_stack: the watched modules that run, the innermost last.
        recent_outputs: what modules and layer functions returned.
        examples: the number of examples of the model's input, where it is known.
        step: the step being sampled.
        is_training: True while a forward runs that is to be recorded, and after it.
        activity: what the forwards of the step were.
    """

    def __init__(self, names: ModuleNames, sites: LayerSites, is_running: Callable[[], bool]) -> None:
        """``is_running`` tells whether the outermost module of the stack still runs."""
        self.module_stack: list[nn.Module] = []
        self.recent_outputs = RecentOutputs()
        self.examples: int | None = None
        self.step = SampledStep(0, with_norms=True)
        self.is_training = False
        self.activity = ForwardActivity()
        self._names = names
        self._sites = sites
        self._is_running = is_running
        self._composed = ComposedRelus()

    def begin(self, examples: int | None) -> None:
        """Begin a forward of the sampled step."""
        self.is_training = True
        self.examples = examples
        self.step = self.step._replace(forward=self.step.forward + 1)

    def clear(self) -> None:
        """Forget the forward, so that none of its tensors is kept alive."""
        self.module_stack.clear()
        self.recent_outputs.clear()
        self._composed.clear()

    def is_remembered(self, output: Tensor, module: nn.Module) -> bool:
        """Return True if nothing need be remembered of the output of a module but that it ran. Calls nothing of torch.

        Of most layers their function has been remembered, which returned the same tensor.
        """
        return self.recent_outputs.is_remembered(output, module)

    def remember_output(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember what a module returned."""
        module_input = first_tensor(call_arguments(module, inputs))
        self.recent_outputs.remember(output, module, module_input)

    def before_call(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Record the call if it is an activation."""
        activation = match_activation(function, args, kwargs)
        z = args[0] if args else kwargs.get("input")
        if activation is None and name in COMPOSED:
            matched = self._composed.match(name, args, kwargs)
            if matched is not None:
                activation, z = matched
        if activation is not None and isinstance(z, Tensor):
            self._on_activation(activation, z)

    def after_call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Remember a result that an activation may read; record the states of an RNN."""
        if name in REMEMBERED:
            self._composed.remember(name, args, kwargs, result)
        if name in WEIGHTED and self.module_stack:
            self.recent_outputs.remember_call(name, args, kwargs, LayerCall(self.module_stack[-1], result))
        if name in RNN_CALLS and self.is_training and self.module_stack and self.module_stack[-1].training:
            self._record_states(self.module_stack[-1], rnn_preactivations(name, args, result))

    def _on_activation(self, activation: Activation, z: Tensor) -> None:
        if torch.is_inference_mode_enabled() or not self.is_training or not z.dim() or not z.is_floating_point():
            return
        # After an interrupted forward the mode sees calls of others, until the next module call removes it.
        if self.module_stack and not self._is_running():
            return
        last = self.recent_outputs.last_module
        module = self.module_stack[-1] if self.module_stack else calling_module(self._names, last)
        source = self.recent_outputs.pop(z)
        if module is None:
            self._note_outside(activation, source)
            return
        self.activity.evaluated |= not module.training
        self.activity.saw_activation |= not activation.can_die
        if not module.training:
            return
        call = ActivationCall(
            activation=activation, z=z, plain=unwrap(z), module=module, source=source, examples=self.examples
        )
        layer = self._sites.find(call, self.recent_outputs)
        if layer is not None:
            layer.recorder.record(layer.z, layer.dim, source, self.step)

    def _note_outside(self, activation: Activation, source: object) -> None:
        """Note an activation in the user's own code that reads what the model returned."""
        if source is not None and activation.can_die:
            self._sites.unseen[f"{activation.name} (outside)"] = OUTSIDE

    def _record_states(self, module: nn.Module, states: list[Tensor] | str) -> None:
        if isinstance(states, str):
            name = self._names.activation_name(module, RELU, 1)
            if name is not None:
                self._sites.unseen[name] = states
            return
        for number, z in enumerate(states, start=1):
            key = (id(module), -number, z.shape[-1])
            layer = self._sites.layers.get(key)
            name = self._names.activation_name(module, RELU, number)
            if name is None or not z.numel():
                continue
            if layer is None:
                info = ProducerInfo(module, "none", [SUM_WITH_STATE])
                layer = self._sites.add_fixed(key, name, RELU, z, info)
                layer.producer_name = self._names.path(module)
            layer.record(z, z.dim() - 1, None, self.step)
