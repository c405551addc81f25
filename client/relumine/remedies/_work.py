"""What a remedy does to parameters: writes single entries, keeps account, and puts the optimizer right afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._applied import Change, listed
from relumine._discover import matches
from relumine.remedies._balance import balance
from relumine.remedies._moments import forget
from relumine.remedies._paths import Path
from relumine.remedies._survey import Found, Survey
from relumine.remedies._together import Together


@dataclass(slots=True)
class Work:
    """A model being treated: which entries of which parameters were touched, what was done and what was not."""

    survey: Survey
    together: Together
    generator: torch.Generator | None
    masks: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    buffers: list[Tensor] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, layer: str, units: Tensor, parameter: nn.Parameter, mask: Tensor, values: Tensor) -> None:
        """Put ``values``, one per entry under ``mask``, into a parameter; no other entry is touched."""
        before = _size(parameter, mask)
        with torch.no_grad():
            parameter[mask] = values.to(parameter.device, parameter.dtype)
        earlier = self.masks.get(parameter)
        self.masks[parameter] = mask.clone() if earlier is None else earlier | mask
        label = self.survey.labels[id(parameter)]
        self._note(Change(layer, label, numbers(units), before, _size(parameter, mask)))

    def write_buffer(self, layer: str, units: Tensor, buffer: Tensor, values: Tensor) -> None:
        """The same for entries ``units`` of a vector that is not trained."""
        at = units.to(buffer.device)
        before = float(buffer[at].mean())
        with torch.no_grad():
            buffer[at] = values.to(buffer.device, buffer.dtype)
        self.buffers.append(buffer)
        label = self.survey.labels.get(id(buffer), "statistics")
        self._note(Change(layer, label, numbers(units), before, float(buffer[at].mean())))

    def _note(self, change: Change) -> None:
        """What was written twice is one change."""
        for index, earlier in enumerate(self.changes):
            if (earlier.place, earlier.parameter, earlier.units) == (change.place, change.parameter, change.units):
                self.changes[index] = replace(change, before=earlier.before)
                return
        self.changes.append(change)

    def draw(self, count: int, spread: float) -> Tensor:
        """Normal numbers, shape (count,)."""
        return torch.randn(count, generator=self.generator, dtype=torch.float32) * spread

    def settle(self, optimizer: Optimizer | None) -> None:
        """Forget what the optimizer remembers of the touched entries, and agree with the other processes."""
        touched: list[Tensor] = [*self.masks, *self.buffers]
        if optimizer is not None:
            changes, notes = forget(optimizer, self.masks, self.survey.labels)
            self.changes += changes
            self.notes += notes
            for parameter in self.masks:
                state = optimizer.state.get(parameter, {}).values()
                touched += [one for one in state if isinstance(one, Tensor) and one.shape == parameter.shape]
        self.together.follow_first(touched)
        torch.clear_autocast_cache()  # or an autocast that is on goes by the old weights


def balance_(work: Work, path: Path, layer: str, units: Tensor, rate: float, *, renewed: bool) -> None:
    """Set bias or β so that the units fire at ``rate``, and give BatchNorm the statistics of what it reads."""
    parameter = path.bias if path.norm is None else path.norm.beta
    if parameter is None:
        return
    rows = rows_of(parameter, units)
    work.write(layer, units, parameter, rows, torch.zeros(len(units)))  # beside a large bias small types see nothing
    to = balance(work.survey, path, units, rate, renewed=renewed)
    norm = path.norm
    if (
        norm is not None
        and norm.mean is not None
        and norm.var is not None
        and to.mean is not None
        and to.var is not None
    ):
        work.write_buffer(layer, units, norm.mean, to.mean)
        work.write_buffer(layer, units, norm.var, to.var)
    work.write(layer, units, parameter, rows, to.bias)


def root_mean_square(weights: Tensor) -> float:
    """The size of weights, as a ``Change`` says it."""
    return float(weights.detach().double().square().mean().sqrt())


def rows_of(parameter: nn.Parameter, units: Tensor) -> Tensor:
    """The entries of these units, boolean, of the parameter's shape."""
    mask = torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
    mask[units.to(parameter.device)] = True
    return mask


def numbers(units: Tensor) -> tuple[int, ...]:
    return tuple(units.tolist())


def _size(parameter: nn.Parameter, mask: Tensor) -> float:
    """Of weights, the root of their mean square; of a number per unit, the mean."""
    values = parameter.detach()[mask].double()
    return float(values.mean()) if parameter.dim() == 1 else root_mean_square(values)


def chosen_of(
    found: Mapping[str, Found],
    layers: str | Iterable[str] | None,
    units: Mapping[str, Iterable[int]] | None,
    *,
    silent_only: bool,
) -> list[tuple[Found, Tensor]]:
    """The units that were given, or all dead ones of the layers that are wanted; in order of use."""
    patterns = [layers] if isinstance(layers, str) else None if layers is None else list(layers)
    if units is None:
        return [(one, one.dead) for name, one in found.items() if patterns is None or matches(name, patterns)]
    chosen = []
    for name, given in units.items():
        if name not in found:
            raise ValueError(f"no ReLU is called {name!r}; there are {listed(list(found))}")
        one, at = found[name], torch.tensor(sorted(set(given)), dtype=torch.long)
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < len(one.active):
            raise ValueError(f"{name} has units 0 to {len(one.active) - 1}")
        if silent_only and not one.faults and bool(one.active[at].any()):
            raise ValueError(f"units of {name} fire on these inputs: the output would change (preserve=False)")
        chosen.append((one, at))
    order = list(found)
    return sorted(chosen, key=lambda pair: order.index(pair[0].name))
