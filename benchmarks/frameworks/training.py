"""A training of a framework, as the comparison sees it: a function that is observed while it trains. Pure types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import nn

Model: TypeAlias = nn.Module | Mapping[str, nn.Module]


class CountStep(Protocol):
    """To be called after each optimizer step by a training whose optimizer is none of torch's."""

    def __call__(self) -> None:
        """Count a step."""
        ...


class Observe(Protocol):
    """Called by a training once its model and optimizers exist, before its first step."""

    def __call__(self, model: Model, optimizer: Any, /) -> CountStep:
        """Observe a model (or several by name) from now on; ``optimizer`` is whatever the training steps, or None."""
        ...


class Trained(NamedTuple):
    """The end of a training.

    Attributes:
        model: the trained model, or several by name.
        losses: its losses, in order.
        steps: its optimizer steps, as the framework or its loop counts them.
    """

    model: Model
    losses: list[float]
    steps: int


class Training(Protocol):
    """A training from nothing; everything it draws comes from the global generators, which are seeded before."""

    def __call__(self, observe: Observe, /) -> Trained:
        """Train, and call ``observe`` once."""
        ...


def by_name(model: Model) -> dict[str, nn.Module]:
    """Return one or several models by name; a single one has the empty name."""
    return {"": model} if isinstance(model, nn.Module) else dict(model)
