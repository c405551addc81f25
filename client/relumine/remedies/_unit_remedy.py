"""The common start and end of remedies that change single units: survey, selection, synchronization, measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._analysis.survey import ReluInfo, ReluSurvey, max_difference
from relumine._runtime.text import join_names, plural
from relumine._torch.distributed import DdpGroup
from relumine._torch.forward import Inputs
from relumine._torch.modules import as_patterns, matches
from relumine.alert_actions import Change, RemedyResult
from relumine.remedies._parameter_edit import ParameterEditor, unit_numbers


class UnitRemedy:
    """One remedy on single units of a model.

    ``relus`` and ``output`` are the model before the remedy. ``treated`` are the units that it changes, by layer.
    ``output_change`` is the largest change of the model's output; None until ``finish``, and if it cannot be measured.
    Under DistributedDataParallel the activity of units is that on the inputs of all processes.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, generator: torch.Generator | None = None) -> None:
        self.editor = ParameterEditor(ReluSurvey(model, inputs), DdpGroup(model), generator)
        self.relus, self.output = self.editor.survey.run()
        for relu in self.relus.values():
            relu.active = self.editor.ddp.all_reduce_sum(relu.active)
        self.treated: dict[str, Tensor] = {}
        self.output_change: float | None = None

    @property
    def unit_count(self) -> int:
        """Number of units that were changed."""
        return sum(len(units) for units in self.treated.values())

    def select(
        self, layers: str | Iterable[str] | None, units: Mapping[str, Iterable[int]] | None, *, inactive_only: bool
    ) -> list[tuple[ReluInfo, Tensor]]:
        """Return the given units, or the dead ones of the layers that match, by ReLU in order of use.

        Raises:
            ValueError: a given ReLU or unit does not exist, or a given unit is active although ``inactive_only``.
        """
        for name in units or ():
            if name not in self.relus:
                raise ValueError(f"no ReLU is called {name!r}; there are {join_names(list(self.relus))}")
        patterns = as_patterns(layers)
        selection = []
        for name, relu in self.relus.items():
            if units is not None:
                indices = _given_units(relu, units.get(name, ()), inactive_only=inactive_only)
            elif matches(name, patterns):
                indices = relu.dead
            else:
                continue
            if len(indices):
                selection.append((relu, indices))
        return selection

    def skip(self, relu: ReluInfo, units: Tensor, reason: str) -> None:
        """Note why units are left unchanged."""
        self.editor.notes.append(f"{relu.name}: {plural(len(units), 'unit')} left unchanged: {reason}")

    def finish(self, optimizer: Optimizer | None) -> None:
        """Reset the optimizer's state of the changed entries, and measure how the units and the output changed."""
        self.editor.sync_optimizer(optimizer)
        if not self.treated:
            return
        relus, output = self.editor.survey.run()
        for name, units in self.treated.items():
            previous_rate = self.relus[name].active_rate(units)
            rate = relus[name].active_rate(units)
            self.editor.changes.append(Change(name, "active_rate", unit_numbers(units), previous_rate, rate))
        self.output_change = max_difference(self.output, output)

    def result(self, action: str, value: float, text: str) -> RemedyResult:
        """Return the result, with all changes and notes."""
        return RemedyResult(
            action=action,
            value=value,
            text=text,
            changes=tuple(self.editor.changes),
            notes=tuple(self.editor.notes),
            output_change=self.output_change,
        )


def _given_units(relu: ReluInfo, numbers: Iterable[int], *, inactive_only: bool) -> Tensor:
    indices = torch.tensor(sorted(set(numbers)), dtype=torch.long)
    if not len(indices):
        return indices
    if int(indices.min()) < 0 or int(indices.max()) >= len(relu.active):
        raise ValueError(f"{relu.name} has units 0 to {len(relu.active) - 1}")
    if inactive_only and not relu.blockers and bool(relu.active[indices].any()):
        raise ValueError(
            f"units of {relu.name} are active on these inputs: the output would change (allowed by preserve=False)"
        )
    return indices
