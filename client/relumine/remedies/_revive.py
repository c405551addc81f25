"""Revival of dead units: new incoming weights, a bias at which they are active, and an unchanged output."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._analysis.born_dead import he_std
from relumine._analysis.survey import ReluInfo, max_magnitude
from relumine._runtime.text import join_names, plural
from relumine._torch.forward import Inputs
from relumine._torch.optimizers import unwrap_optimizer
from relumine.alert_actions import RemedyResult
from relumine.remedies._bias_target import assign_bias_for_rate
from relumine.remedies._parameter_edit import ParameterEditor, rows_of
from relumine.remedies._unit_remedy import UnitRemedy

ACTIVE_RATE = 0.5
"""Share of outputs on which a revived unit is active: the variance 2/fan_in assumes it (He et al. 2015)."""
ROUNDING_RTOL = 1e-4
"""Change of the output, as a share of its size, that rounding explains (float32; coarser types are not judged)."""
HIDDEN_CONSUMER = "these units are read by something that could not be traced: the output changed by"
NO_BIAS = "has no bias: how often its units are active depends on the drawn weights"


def revive_(  # noqa: PLR0913 - a model, inputs, an optimizer, and options by name
    model: nn.Module,
    inputs: Inputs,
    optimizer: Optimizer | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    units: Mapping[str, Iterable[int]] | None = None,
    preserve: bool = True,
    generator: torch.Generator | None = None,
) -> RemedyResult:
    """Reinitialize units that are active on no input, in place; nothing else of the model changes.

    Their incoming weights are drawn from N(0, 2/fan_in), their bias is set so that half of the outputs on these inputs
    are above 0, and their outgoing weights become 0: the model's output stays the same on every input on which they
    were inactive. Behind a BatchNorm γ becomes 1, β takes the part of the bias, and the running statistics of these
    units become those of the inputs. The optimizer's moments of exactly these entries are reset.

    The model runs in the modes it is in, a few times. Under DistributedDataParallel every process must call this; a
    unit is dead then if it is active on no process's inputs, and all processes get the values of the first one.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel or torch.compile.
        inputs: the arguments of its forward (a tensor, a tuple of arguments or a mapping of keyword arguments), or a
            finite iterable of those. The more there are, the surer it is that a unit is dead.
        optimizer: the optimizer whose moments are reset.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        units: the units to revive, by layer, instead of all that are dead.
        preserve: True revives only units whose consumers are all known, so that the output stays the same; False also
            draws their outgoing weights, where the layers that read them are known.
        generator: random generator of the weights; by default torch's own.

    Raises:
        ValueError: the inputs hold no batch, a given layer or unit does not exist, or a given unit is active on these
            inputs and ``preserve`` is True. Nothing was changed then.
        TypeError: a batch is neither a tensor, nor a tuple, nor a mapping.
    """
    optimizer = None if optimizer is None else unwrap_optimizer(optimizer)
    remedy = UnitRemedy(model, inputs, generator)
    editor = remedy.editor
    for relu, indices in remedy.select(layers, units, inactive_only=preserve):
        reason = _reason_to_skip(relu, preserve=preserve)
        if reason is None:
            remedy.treated[relu.name] = indices
        else:
            remedy.skip(relu, indices, reason)
    for name, indices in remedy.treated.items():
        _reinitialize(editor, remedy.relus[name], indices, preserve=preserve)

    remedy.finish(optimizer)
    if preserve and _exceeds_rounding(remedy):
        note = f"{HIDDEN_CONSUMER} {remedy.output_change:.3g}"
        warnings.warn(note, stacklevel=2)
        editor.notes.append(note)
    return remedy.result("revive_", float(remedy.unit_count), _text(remedy))


def _reason_to_skip(relu: ReluInfo, *, preserve: bool) -> str | None:
    if relu.blockers:
        return "; ".join(sorted(relu.blockers))
    if preserve and relu.unknown_consumers:
        return f"it is read by {_consumer_names(relu)}, so the output might change (allowed by preserve=False)"
    return None


def _reinitialize(editor: ParameterEditor, relu: ReluInfo, units: Tensor, *, preserve: bool) -> None:
    """Set the units' incoming weights, their bias, and their outgoing weights."""
    path = relu.path
    if path is None:
        return
    mask = rows_of(path.weight, units)
    incoming = editor.sample_normal(int(mask.sum()), he_std(path.weight.shape))
    editor.assign(relu.name, units, path.weight, mask, incoming)
    if path.norm is not None:
        gamma = path.norm.gamma
        editor.assign(relu.name, units, gamma, rows_of(gamma, units), torch.ones(len(units)))
    elif path.bias is None:
        editor.notes.append(f"{relu.name} {NO_BIAS}")
    assign_bias_for_rate(editor, path, relu.name, units, ACTIVE_RATE, redrawn=True)
    for consumer in relu.consumers.values():
        mask = consumer.weights_reading(units)
        std = 0.0 if preserve else he_std(consumer.weight.shape)
        editor.assign(relu.name, units, consumer.weight, mask, editor.sample_normal(int(mask.sum()), std))
    if relu.unknown_consumers and not preserve:
        editor.notes.append(f"{relu.name} is read by {_consumer_names(relu)}: outgoing weights there were not redrawn")


def _consumer_names(relu: ReluInfo) -> str:
    return ", ".join(sorted(relu.unknown_consumers))


def _exceeds_rounding(remedy: UnitRemedy) -> bool:
    """Return True if the output changed by more than rounding explains."""
    if remedy.output_change is None:
        return False
    return remedy.output_change > ROUNDING_RTOL * max(1.0, max_magnitude(remedy.output))


def _text(remedy: UnitRemedy) -> str:
    if not remedy.treated:
        return "no unit was revived"
    text = f"revived {plural(remedy.unit_count, 'unit')} of {join_names(list(remedy.treated))}"
    if remedy.output_change is not None:
        text += f"; the output changed by at most {remedy.output_change:.2g}"
    return text
