"""What a training of the corpus is: plain data. Every part is interpreted elsewhere, none holds behaviour."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["mlp", "cnn", "residual", "batchnorm", "functional", "transformer", "autoencoder"]
Group: TypeAlias = Literal["healthy", "high_rate", "bias", "start", "input", "divergence"]


@dataclass(frozen=True)
class Net:
    """A model of a family; what it reads and answers comes from the material.

    ``widths`` are those of its activations, for a transformer (model, feed-forward) of two blocks.
    """

    family: Family
    widths: tuple[int, ...] = (64, 32)
    activation: Literal["relu", "leaky_relu", "gelu"] = "relu"
    dropout: float = 0.0
    output_relu: bool = False


@dataclass(frozen=True)
class Optim:
    """An optimizer. ``groups``: weights and biases in groups of their own, as with a decay for weights only."""

    kind: Literal["sgd", "momentum", "adam", "adamw", "rmsprop"] = "momentum"
    rate: float = 0.05
    groups: bool = False
    decay: float = 0.0
    clip: float | None = None


@dataclass(frozen=True)
class Pace:
    """How the learning rate goes. ``period`` in steps: of a warm-up, a cycle, or between two restarts."""

    kind: Literal["constant", "warmup", "cosine", "cyclic", "onecycle", "restarts", "stairs"] = "constant"
    period: int = 100


@dataclass(frozen=True)
class Loader:
    """In which order examples come. ``block`` steps of ``span`` groups at a time, and they come back."""

    kind: Literal["shuffled", "sorted", "blocks"] = "shuffled"
    batch: int = 32
    block: int = 40
    span: int = 2


@dataclass(frozen=True)
class Start:
    """What is done to a fresh model that is no fault. ``layer`` counts activations from 0; -1 means all.

    he: He's weights and no biases; selective: biases at which a unit fires on the share ``amount`` of the examples;
    few_dead: the share ``amount`` of the units can never fire; bias: all biases are ``amount``; positive_head: the
    last weights are positive, as of a pooled readout.
    """

    kind: Literal["he", "selective", "few_dead", "bias", "positive_head"]
    amount: float = 0.0
    layer: int = -1


@dataclass(frozen=True)
class Fault:
    """What is done to a training to make it ill, from the step after ``at`` until the step ``until``.

    ``amount`` is in the kind's own measure (see ``faults``), reached after ``ramp`` steps; ``layer`` as in ``Start``.
    """

    kind: Literal[
        "rate", "growing", "resume", "momentum", "layer_rate",
        "bias", "push", "bias_rate", "target", "decay",
        "narrow", "negative_mean", "tiny", "huge",
        "offset", "gain", "raw", "bursts", "stuck",
    ]  # fmt: skip
    amount: float = 0.0
    at: int = 0
    until: int | None = None
    ramp: int = 0
    layer: int = -1
    every: int = 1

    def holds(self, step: int) -> bool:
        """Whether the fault is there in this step (steps count from 1)."""
        return step > self.at and (self.until is None or step <= self.until)

    def grown(self, step: int) -> float:
        """The part of ``amount`` that is reached in this step, in [0, 1]."""
        return min(1.0, (step - self.at) / self.ramp) if self.ramp else 1.0


@dataclass(frozen=True)
class Recipe:
    """One way to train. ``cause`` None: healthy, nothing but ``info`` may be said of it.

    Its healthy twin is itself without ``fault``. ``sparse`` marks nets that are silent by design; ``benign`` is
    something that looks like a fault and is none.
    """

    name: str
    group: Group
    net: Net
    material: str = "digits"
    optim: Optim = Optim()
    pace: Pace = Pace()
    loader: Loader = Loader()
    steps: int = 500
    start: tuple[Start, ...] = ()
    penalty: float = 0.0
    warm_steps: int = 0
    benign: tuple[Fault, ...] = ()
    fault: Fault | None = None
    cause: str | None = None
    sparse: bool = False

    @property
    def family(self) -> Family:
        """Of its model."""
        return self.net.family

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that is done to it, ill or benign."""
        return self.benign if self.fault is None else (*self.benign, self.fault)

    @property
    def base(self) -> str:
        """The recipe that a twin belongs to; the name itself otherwise."""
        return self.name.removesuffix(TWIN)

    def fingerprint(self) -> str:
        """Changes with whatever would make another run of it; the names do not."""
        plain = replace(self, name="", cause=None, group="healthy", sparse=False)
        return hashlib.sha256(repr(plain).encode()).hexdigest()[:16]


TWIN = " (twin)"


def without_fault(recipe: Recipe) -> Recipe:
    """The healthy twin of a recipe: the same but for its fault."""
    return replace(recipe, name=recipe.name + TWIN, group="healthy", fault=None, cause=None)
