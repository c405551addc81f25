"""The bias at which units fire on a given share of the inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from relumine.remedies import _calls
from relumine.remedies._paths import Norm, Path, Trail
from relumine.remedies._survey import Survey

ROWS = 16_384  # pre-activations of a unit that are looked at per batch; of more they are taken evenly spaced
NUDGE = 1e-3  # of a number, below which a threshold is put that ties would else keep from being passed


@dataclass(slots=True)
class Responses:
    """What ``units`` of a path answered to all inputs, shape (outputs, units), and what its BatchNorm read of them."""

    units: Tensor
    z: list[Tensor] = field(default_factory=list)
    read: list[Tensor] = field(default_factory=list)

    def see(self, z: Tensor, trail: Trail) -> None:
        """Take in one pre-activation."""
        dim = _calls.unit_dim(trail.units, trail.path.units)
        self.z.append(self._rows(z, -1 if dim is None else dim))
        if trail.path.norm is not None:
            self.read.append(self._rows(trail.path.norm.read, 1))

    def _rows(self, z: Tensor, dim: int) -> Tensor:
        lines = z.detach().movedim(dim, -1).reshape(-1, z.shape[dim])
        at = torch.linspace(0, len(lines) - 1, min(len(lines), ROWS)).round().long()
        return lines[at.to(z.device)][:, self.units.to(z.device)].cpu().double()


@dataclass(frozen=True, slots=True)
class Balance:
    """Each unit's bias (or β), and the statistics of what its BatchNorm reads, if any."""

    bias: Tensor
    mean: Tensor | None = None
    var: Tensor | None = None


def balance(survey: Survey, path: Path, units: Tensor, rate: float, *, renewed: bool) -> Balance:
    """The bias with which each of ``units`` fires on the share ``rate`` of outputs on all inputs; now it must be 0.

    Where the units were ``renewed`` a BatchNorm's running statistics of them hold no longer: they become those of the
    inputs, and where it goes by them the bias follows.
    """
    responses = Responses(units)

    def see(name: str, z: Tensor, trail: Trail | None) -> None:
        if name == path.site and trail is not None:
            responses.see(z, trail)

    survey.watch(see)
    z, norm = torch.cat(responses.z), path.norm
    if norm is None or norm.mean is None or not renewed:
        return Balance(-threshold(z, rate))
    read = torch.cat(responses.read)
    mean, var = read.mean(0), read.var(0, unbiased=len(read) > 1)
    if not norm.batch:
        z = _normalised(norm, read, mean, var, units)
    return Balance(-threshold(z, rate), mean, var)


def _normalised(norm: Norm, read: Tensor, mean: Tensor, var: Tensor, units: Tensor) -> Tensor:
    gamma, beta = (one.detach()[units.to(one.device)].cpu().double() for one in (norm.gamma, norm.beta))
    return (read - mean) / (var + norm.eps).sqrt() * gamma + beta


def threshold(z: Tensor, rate: float) -> Tensor:
    """Per column, a number that the share ``rate`` of its rows exceeds, at least one and not all.

    It lies halfway between two rows; where these are equal, just below them.
    """
    ordered = z.sort(0, descending=True).values
    above = max(1, min(round(rate * len(z)), len(z) - 1))
    last, next_ = ordered[above - 1], ordered[min(above, len(z) - 1)]
    return torch.where(last > next_, (last + next_) / 2, last - last.abs().clamp_min(NUDGE) * NUDGE)
