"""An editor of single parameter entries that records every change and resets the optimizer's state to match."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._analysis.survey import ReluSurvey
from relumine._torch.distributed import DdpGroup
from relumine.alert_actions import Change
from relumine.remedies._optimizer_state import reset_state


@dataclass(slots=True)
class ParameterEditor:
    """The edits of one remedy: the entries assigned so far, the changes, and notes on what was left unchanged."""

    survey: ReluSurvey
    ddp: DdpGroup
    generator: torch.Generator | None = None
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _masks: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    _buffers: list[Tensor] = field(default_factory=list)

    def assign(self, layer: str, units: Tensor, parameter: nn.Parameter, mask: Tensor, values: Tensor) -> None:
        """Write ``values``, one per entry under ``mask``, into a parameter; no other entry changes."""
        previous = _size_under(mask, parameter)
        with torch.no_grad():
            parameter[mask] = values.to(parameter.device, parameter.dtype)
        assigned = self._masks.get(parameter)
        self._masks[parameter] = mask.clone() if assigned is None else assigned | mask
        label = self.survey.labels[id(parameter)]
        self._record(Change(layer, label, unit_numbers(units), previous, _size_under(mask, parameter)))

    def assign_buffer(self, layer: str, units: Tensor, buffer: Tensor, values: Tensor) -> None:
        """Write ``values``, one per unit, into the entries ``units`` of a buffer."""
        indices = units.to(buffer.device)
        previous = float(buffer[indices].mean())
        with torch.no_grad():
            buffer[indices] = values.to(buffer.device, buffer.dtype)
        self._buffers.append(buffer)
        label = self.survey.labels.get(id(buffer), "statistics")
        self._record(Change(layer, label, unit_numbers(units), previous, float(buffer[indices].mean())))

    def _record(self, change: Change) -> None:
        """Add a change; a second one of the same entries is merged into the first."""
        key = (change.target, change.parameter, change.units)
        for index, recorded in enumerate(self.changes):
            if (recorded.target, recorded.parameter, recorded.units) == key:
                self.changes[index] = replace(change, old=recorded.old)
                return
        self.changes.append(change)

    def sample_normal(self, count: int, std: float) -> Tensor:
        """Return normal numbers, shape (count,)."""
        return torch.randn(count, generator=self.generator, dtype=torch.float32) * std

    def sync_optimizer(self, optimizer: Optimizer | None) -> None:
        """Reset the optimizer's state of the assigned entries, and give all processes the values of the first."""
        tensors: list[Tensor] = [*self._masks, *self._buffers]
        if optimizer is not None:
            changes, notes = reset_state(optimizer, self._masks, self.survey.labels)
            self.changes += changes
            self.notes += notes
            for parameter in self._masks:
                state = optimizer.state.get(parameter, {})
                tensors += [
                    moment
                    for moment in state.values()
                    if isinstance(moment, Tensor) and moment.shape == parameter.shape
                ]
        self.ddp.broadcast_from_first(tensors)
        torch.clear_autocast_cache()  # an active autocast would otherwise use its copies of the old weights


def root_mean_square(weights: Tensor) -> float:
    """Return the root mean square of weights: their size in a ``Change``."""
    return float(weights.detach().double().square().mean().sqrt())


def rows_of(parameter: nn.Parameter, units: Tensor) -> Tensor:
    """Return a mask of the entries of these units, boolean, in the parameter's shape."""
    mask = torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
    mask[units.to(parameter.device)] = True
    return mask


def unit_numbers(units: Tensor) -> tuple[int, ...]:
    """Return unit indices as numbers, for a ``Change``."""
    return tuple(units.tolist())


def _size_under(mask: Tensor, parameter: nn.Parameter) -> float:
    """Return the root mean square of weights under the mask; of a parameter with one number per unit, the mean."""
    values = parameter.detach()[mask].double()
    if parameter.dim() == 1:
        return float(values.mean())
    return root_mean_square(values)
