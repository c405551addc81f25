"""The check of a model before its training: what can be observed, inactive units, and the risk of being born dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relumine._analysis.hints import Hint, bias_hint, few_examples_hint, input_hints
from relumine._analysis.layer_chains import LayerChainMode, find_chains
from relumine._analysis.report import LayerCheck, Report
from relumine._analysis.risk import risks_of
from relumine._capture.coverage import coverage_table
from relumine._capture.forward_hooks import ForwardHooks
from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.step_stats import LayerStats, SumRow
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import Overhead
from relumine._torch.forward import call_model, preserve_model_state
from relumine._torch.modules import ModuleNames, named_models, registered_weight


def check(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> Report:
    """Run one forward as in training, and report on it; model, buffers and random generators stay unchanged.

    For chains of plain layers it also estimates how many nets of the same shapes are born dead, by drawing such nets.

    Args:
        model: the module to check.
        inputs: the arguments of its forward: a tensor, a tuple of arguments or a mapping of keyword arguments.
        include: glob patterns; only layers whose name matches one are reported.
        exclude: glob patterns of layers to leave out.

    Raises:
        ValueError: the inputs hold no example.
        Exception: whatever the model's own forward raises.
    """
    names = ModuleNames(named_models(model), include, exclude)
    hooks = ForwardHooks(names, Overhead(), ErrorGuard(strict=True))
    chain_mode = LayerChainMode()
    root = model if isinstance(model, nn.Module) else nn.ModuleDict(dict(model))
    with preserve_model_state(root), torch.enable_grad():
        root.train()
        hooks.attach(1)
        with chain_mode:
            try:
                call_model(root, inputs)
            finally:
                hooks.detach()
        with torch.no_grad():
            return _report(hooks, chain_mode, inputs)


def _report(hooks: ForwardHooks, chain_mode: LayerChainMode, inputs: Any) -> Report:
    recorders = list(hooks.layers.values())
    coverage = coverage_table(hooks.sites, hooks.stance, 1)
    stats = {recorder.name: recorder.collect(1, None) for recorder in recorders}
    layers = tuple(_layer_check(recorder, stats[recorder.name], coverage[recorder.name]) for recorder in recorders)
    relus = [layer for layer in layers if layer.can_die]
    if relus and not any(layer.examples for layer in relus):
        raise ValueError("the inputs hold no example: no ReLU read anything")

    unused = tuple(name for name, row in coverage.items() if row["observed"] == "never")
    plain_names = _names_after_plain_layers(recorders)
    hints = list(input_hints(chain_mode.layers, plain_names, inputs))
    hints += _layer_hints(layers, stats)
    risks = risks_of(find_chains(chain_mode.layers, plain_names), plain_names)
    return Report(layers, unused, risks, tuple(hints))


def _layer_hints(layers: Iterable[LayerCheck], stats: Mapping[str, LayerStats | None]) -> list[Hint]:
    hints = []
    for layer in layers:
        hint = bias_hint(layer.name, stats[layer.name]) if layer.can_die else None
        if hint is not None:
            hints.append(hint)
    hints += [few_examples_hint(layer.name, layer.examples) for layer in layers if layer.has_too_few_examples]
    return hints


def _layer_check(recorder: LayerRecorder, stats: LayerStats | None, coverage: Mapping[str, Any]) -> LayerCheck:
    inactive = None
    examples = 0
    finite = True
    if stats is not None:
        inactive = int((stats.matrix[SumRow.ACTIVE] == 0).sum())
        examples = stats.examples
        finite = bool(stats.matrix[SumRow.SUM].isfinite().all())
    return LayerCheck(
        name=recorder.name,
        activation=recorder.activation,
        can_die=recorder.can_die,
        units=recorder.units,
        inactive=inactive,
        examples=examples,
        split=coverage["split"],
        producer=coverage["producer"],
        missing=tuple(coverage["missing"]),
        finite=finite,
    )


def _names_after_plain_layers(recorders: Iterable[LayerRecorder]) -> dict[int, str]:
    """Return the names of the ReLUs that read a plain layer directly, by the id of the layer's weight."""
    names: dict[int, str] = {}
    for recorder in recorders:
        producer = recorder.producer
        if recorder.can_die and recorder.split == "linear" and not recorder.sharded and producer is not None:
            names.setdefault(id(registered_weight(producer)), recorder.name)
    return names
