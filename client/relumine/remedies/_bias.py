"""A new bias for inactive units, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn
from torch.optim import Optimizer

from relumine._analysis.survey import ReluInfo
from relumine._runtime.text import join_names, plural
from relumine._torch.forward import Inputs
from relumine._torch.optimizers import unwrap_optimizer
from relumine.alert_actions import RemedyResult
from relumine.remedies._bias_target import assign_bias_for_rate
from relumine.remedies._unit_remedy import UnitRemedy

NO_BIAS = "it has no bias"


def reset_bias_(
    model: nn.Module,
    inputs: Inputs,
    optimizer: Optimizer | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    units: Mapping[str, Iterable[int]] | None = None,
    active_rate: float = 0.5,
) -> RemedyResult:
    """Set the bias (behind a BatchNorm β) of dead units so that each is active on a given share of outputs, in place.

    Weights stay, so this helps where the bias alone keeps units inactive; the model's output changes. The optimizer's
    moments of exactly these biases are reset. Layers are treated in order of use, each on the outputs of those before
    it as they then are. The model runs in the modes it is in. Under DistributedDataParallel every process must call
    this.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel or torch.compile.
        inputs: the arguments of its forward (a tensor, a tuple of arguments or a mapping of keyword arguments), or a
            finite iterable of those.
        optimizer: the optimizer whose moments are reset.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        units: the units to treat, by layer, instead of all that are active on no input.
        active_rate: share of outputs on which each unit will be active, between 0 and 1.

    Raises:
        ValueError: ``active_rate`` is not between 0 and 1, the inputs hold no batch, or a given layer or unit does not
            exist.
        TypeError: a batch is neither a tensor, nor a tuple, nor a mapping.
    """
    if not 0 < active_rate < 1:
        raise ValueError(f"active_rate {active_rate} is not between 0 and 1")
    optimizer = None if optimizer is None else unwrap_optimizer(optimizer)
    remedy = UnitRemedy(model, inputs)
    for relu, indices in remedy.select(layers, units, inactive_only=False):
        reason = _reason_to_skip(relu)
        if reason is not None:
            remedy.skip(relu, indices, reason)
        elif relu.path is not None:
            assign_bias_for_rate(remedy.editor, relu.path, relu.name, indices, active_rate, redrawn=False)
            remedy.treated[relu.name] = indices

    remedy.finish(optimizer)
    text = "no bias to reset"
    if remedy.treated:
        text = f"reset the bias of {plural(remedy.unit_count, 'unit')} of {join_names(list(remedy.treated))}"
        text += f" so that each is active on {100 * active_rate:.3g} % of outputs"
    return remedy.result("reset_bias_", active_rate, text)


def _reason_to_skip(relu: ReluInfo) -> str | None:
    if relu.blockers:
        return "; ".join(sorted(relu.blockers))
    if relu.path is not None and relu.path.norm is None and relu.path.bias is None:
        return NO_BIAS
    return None
