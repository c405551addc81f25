"""The bias at which units are active on a given share of the outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from relumine._analysis import calls
from relumine._analysis.survey import ReluSurvey
from relumine._analysis.unit_paths import BatchNormInfo, TrackedUnits, UnitPath
from relumine.remedies._parameter_edit import ParameterEditor, rows_of

MAX_ROWS = 16_384  # pre-activations of a unit that are used per batch, evenly spaced if there are more
TIE_MARGIN = 1e-3  # share of a value by which a threshold lies below it, where equal values leave no gap for it


@dataclass(slots=True)
class PreActivations:
    """Pre-activations of some units of a path on all inputs, and what its BatchNorm read: tensors (outputs, units)."""

    units: Tensor
    z: list[Tensor] = field(default_factory=list)
    norm_inputs: list[Tensor] = field(default_factory=list)

    def add(self, z: Tensor, source: TrackedUnits) -> None:
        """Add the pre-activation of one forward."""
        path = source.path
        dim = calls.unit_dim(source.unit_index, path.unit_count)
        self.z.append(self._rows(z, -1 if dim is None else dim))
        if path.norm is not None:
            self.norm_inputs.append(self._rows(path.norm.input, 1))

    def _rows(self, tensor: Tensor, dim: int) -> Tensor:
        rows = tensor.detach().movedim(dim, -1).reshape(-1, tensor.shape[dim])
        indices = torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).round().long()
        return rows[indices.to(rows.device)][:, self.units.to(rows.device)].cpu().double()


@dataclass(frozen=True, slots=True)
class BiasTarget:
    """The bias (or β) of each unit, and the running statistics for their BatchNorm, if they are to change."""

    bias: Tensor
    mean: Tensor | None = None
    var: Tensor | None = None


def bias_for_rate(
    survey: ReluSurvey, path: UnitPath, units: Tensor, active_rate: float, *, redrawn: bool
) -> BiasTarget:
    """Return the bias at which each of ``units`` is active on the share ``active_rate`` of outputs on all inputs.

    Their present bias must be 0. If the weights were ``redrawn``, a BatchNorm's running statistics of the units no
    longer hold: the target contains those of the inputs, and accounts for them if the BatchNorm uses them.
    """
    recorded = PreActivations(units)

    def on_relu(name: str, z: Tensor, source: TrackedUnits | None) -> None:
        if name == path.relu_name and source is not None:
            recorded.add(z, source)

    survey.replay(on_relu)
    z = torch.cat(recorded.z)
    norm = path.norm
    if norm is None or norm.mean is None or not redrawn:
        return BiasTarget(-activation_threshold(z, active_rate))
    norm_input = torch.cat(recorded.norm_inputs)
    mean = norm_input.mean(0)
    var = norm_input.var(0, unbiased=len(norm_input) > 1)
    if not norm.uses_batch_stats:
        z = _normalize(norm, norm_input, mean, var, units)
    return BiasTarget(-activation_threshold(z, active_rate), mean, var)


def _normalize(norm: BatchNormInfo, norm_input: Tensor, mean: Tensor, var: Tensor, units: Tensor) -> Tensor:
    gamma = norm.gamma.detach()[units.to(norm.gamma.device)].cpu().double()
    beta = norm.beta.detach()[units.to(norm.beta.device)].cpu().double()
    return (norm_input - mean) / (var + norm.eps).sqrt() * gamma + beta


def activation_threshold(z: Tensor, active_rate: float) -> Tensor:
    """Return per column a number that the share ``active_rate`` of its rows exceeds, at least one row and not all.

    It lies halfway between two rows; where these are equal, just below them.
    """
    descending = z.sort(0, descending=True).values
    active_rows = max(1, min(round(active_rate * len(z)), len(z) - 1))
    last_active = descending[active_rows - 1]
    first_inactive = descending[min(active_rows, len(z) - 1)]
    halfway = (last_active + first_inactive) / 2
    below_tie = last_active - last_active.abs().clamp_min(TIE_MARGIN) * TIE_MARGIN
    return torch.where(last_active > first_inactive, halfway, below_tie)


def assign_bias_for_rate(
    editor: ParameterEditor, path: UnitPath, layer: str, units: Tensor, active_rate: float, *, redrawn: bool
) -> None:
    """Set the bias or β of units so that they are active at a rate, and BatchNorm's statistics if they were redrawn."""
    parameter = path.bias if path.norm is None else path.norm.beta
    if parameter is None:
        return
    mask = rows_of(parameter, units)
    # The bias is 0 during the measurement: a large one would absorb small pre-activations in a coarse type.
    editor.assign(layer, units, parameter, mask, torch.zeros(len(units)))
    target = bias_for_rate(editor.survey, path, units, active_rate, redrawn=redrawn)
    norm = path.norm
    if norm is not None and norm.mean is not None and target.mean is not None:
        editor.assign_buffer(layer, units, norm.mean, target.mean)
    if norm is not None and norm.var is not None and target.var is not None:
        editor.assign_buffer(layer, units, norm.var, target.var)
    editor.assign(layer, units, parameter, mask, target.bias)
