"""A training of the corpus as plain data; other modules interpret the parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Family: TypeAlias = Literal[
    "mlp", "cnn", "residual", "batchnorm", "functional", "transformer", "autoencoder", "branches"
]
Group: TypeAlias = Literal["healthy", "high_rate", "bias", "start", "input", "divergence"]
FaultKind: TypeAlias = Literal[
    "rate", "growing", "resume", "momentum", "layer_rate",
    "bias", "push", "bias_rate", "target", "decay", "part_push", "bias_target", "l1", "low_rate",
    "partly_dead", "narrow", "negative_mean", "tiny", "huge",
    "offset", "gain", "raw", "bursts", "stuck",
]  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A model of a family; its inputs and outputs come from the data set.

    ``widths`` are those of its activations, for a transformer (model, feed-forward) of two blocks.
    """

    family: Family
    widths: tuple[int, ...] = (64, 32)
    activation: Literal["relu", "leaky_relu", "gelu"] = "relu"
    dropout: float = 0.0
    output_relu: bool = False


@dataclass(frozen=True)
class Optim:
    """An optimizer. ``groups``: weights and biases in separate parameter groups, as with a decay for weights only."""

    kind: Literal["sgd", "momentum", "adam", "adamw", "rmsprop"] = "momentum"
    rate: float = 0.05
    groups: bool = False
    decay: float = 0.0
    clip: float | None = None


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule. ``period`` in steps: of a warm-up, of a cycle, or between two restarts."""

    kind: Literal["constant", "warmup", "cosine", "cyclic", "onecycle", "restarts", "stairs"] = "constant"
    period: int = 100


@dataclass(frozen=True)
class Loader:
    """The order of examples. Blocks take ``block`` steps on ``span`` groups of examples at a time, in a cycle."""

    kind: Literal["shuffled", "sorted", "blocks"] = "shuffled"
    batch: int = 32
    block: int = 40
    span: int = 2


@dataclass(frozen=True)
class Initialization:
    """A change of a fresh model that is no fault. ``layer`` counts activations from 0; -1 means all.

    - he: He's weights and no biases;
    - selective: biases with which a unit is active on the share ``amount`` of the examples;
    - few_dead: the share ``amount`` of the units can never be active;
    - bias: all biases are ``amount``;
    - positive_head: the last weights are positive, as of a pooled readout.
    """

    kind: Literal["he", "selective", "few_dead", "bias", "positive_head"]
    amount: float = 0.0
    layer: int = -1


@dataclass(frozen=True)
class Fault:
    """A fault of a training, from the step after ``start`` until the step ``end``.

    ``amount`` is in the unit of the kind (see ``faults``), reached after ``ramp`` steps; ``layer`` as in
    ``Initialization``; ``every`` is the interval of bursts in batches.
    """

    kind: FaultKind
    amount: float = 0.0
    start: int = 0
    end: int | None = None
    ramp: int = 0
    layer: int = -1
    every: int = 1

    def is_active(self, step: int) -> bool:
        """Return whether the fault is present in this step (from 1)."""
        return step > self.start and (self.end is None or step <= self.end)

    def ramp_share(self, step: int) -> float:
        """Return the part of ``amount`` that is reached in this step, in [0, 1]."""
        return min(1.0, (step - self.start) / self.ramp) if self.ramp else 1.0


@dataclass(frozen=True)
class Recipe:
    """One way to train. With ``cause`` None it is healthy, and every alert but an ``info`` is a false one.

    The healthy twin of a faulty recipe is the same without ``fault``. ``sparse`` marks nets that are silent by design;
    ``benign`` are changes that resemble a fault and are none; ``penalty`` is on the activations.
    """

    name: str
    group: Group
    net: Net
    dataset: str = "digits"
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    loader: Loader = Loader()
    steps: int = 500
    initialization: tuple[Initialization, ...] = ()
    penalty: float = 0.0
    warm_steps: int = 0
    benign: tuple[Fault, ...] = ()
    fault: Fault | None = None
    cause: str | None = None
    sparse: bool = False

    @property
    def family(self) -> Family:
        """Family of the model."""
        return self.net.family

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All changes of the training, harmful and benign."""
        return self.benign if self.fault is None else (*self.benign, self.fault)

    @property
    def base(self) -> str:
        """Name of the recipe that a twin belongs to; of any other recipe its own name."""
        return self.name.removesuffix(TWIN)

    def fingerprint(self) -> str:
        """Return a hash of everything that determines the training; of names and labels it is independent.

        Ids of runs, and with them the sampled steps, follow from it. So that published numbers can be computed again,
        it is taken over the text that these classes had when the corpus was first trained.
        """
        training = replace(self, name="", cause=None, group="healthy", sparse=False)
        text = repr(training)
        for name, original in ORIGINAL_NAMES.items():
            text = text.replace(name, original)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


ORIGINAL_NAMES = {
    "Schedule(": "Pace(",
    "schedule=": "pace=",
    "dataset=": "material=",
    "start=": "at=",
    "end=": "until=",
    "Initialization(": "Start(",
    "initialization=": "start=",
}
"""Names of classes and fields in a fingerprint, replaced in this order."""

TWIN = " (twin)"


def without_fault(recipe: Recipe) -> Recipe:
    """Return the healthy twin of a recipe: the same without its fault."""
    return replace(recipe, name=recipe.name + TWIN, group="healthy", fault=None, cause=None)
