"""A tensor that carries the units of a layer through one forward."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from torch import Tensor

from relumine._torch.tensors import is_unchanged, version_of


class Stage(Enum):
    """Position of a tracked tensor between a layer and the consumers of its activation."""

    LAYER_OUTPUT = auto()
    NORMALIZED = auto()
    ACTIVATED = auto()


@dataclass(slots=True, eq=False)
class TrackedTensor:
    """A tensor, its stage, and its in-place version when tracking began.

    It is tracked by its id, which stays unique because this object keeps the tensor alive.
    """

    tensor: Tensor
    stage: Stage
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.version = version_of(self.tensor)

    @property
    def is_unchanged(self) -> bool:
        """True if no call has changed the tensor in place since."""
        return is_unchanged(self.tensor, self.version)
