"""Small real trainings on scikit-learn's digits, healthy and faulty, watched through the SDK; the truth is taken apart.

Truth: per layer and every ten steps the share of units whose pre-activation is <= 0 on the whole data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import relumine
from relumine.testing import MemoryTransport
from relumine.wire import LayerInfo, Record

CHANGE = 300


@dataclass(frozen=True)
class Recipe:
    """One way to train. ``cause`` None: healthy, nothing but ``info`` may be said of it."""

    name: str
    cause: str | None = None
    optimizer: str = "sgd"
    rate: float = 0.05
    rate_after: float | None = None
    schedule: str | None = None
    widths: tuple[int, ...] = (128, 64)
    batch: int = 64
    steps: int = 600
    norm: bool = False
    leaky: bool = False
    sparsity: float = 0.0
    bias_drift: float = 0.0
    first_bias: float | None = None
    negative_weights: bool = False
    shift: float = 0.0
    loader: str = "shuffled"


RECIPES = (
    Recipe("sgd"),
    Recipe("sgd raised", "high_learning_rate", rate_after=2.0),
    Recipe("sgd raised x20", "high_learning_rate", rate_after=1.0),
    Recipe("sgd raised mildly", rate_after=0.15),
    Recipe("sgd raised soundly", rate=0.005, rate_after=0.05),
    Recipe("restarts", rate=0.1, schedule="restarts"),
    Recipe("adam", optimizer="adam", rate=0.001),
    Recipe("adam quick", optimizer="adam", rate=0.005),
    Recipe("adam raised", "high_learning_rate", optimizer="adam", rate=0.001, rate_after=0.2),
    Recipe("adam high", "high_learning_rate", optimizer="adam", rate=0.05),
    Recipe("sgd high", "high_learning_rate", rate=0.6),
    Recipe("warm-up", rate=0.1, schedule="warmup"),
    Recipe("cyclic", rate=0.1, schedule="cyclic"),
    Recipe("ramp overshoots", "high_learning_rate", rate=1.5, schedule="ramp"),
    Recipe("batchnorm", norm=True),
    Recipe("batchnorm raised mildly", norm=True, rate_after=0.3),
    Recipe("leaky raised", "diverged", leaky=True, rate_after=2.0),
    Recipe("bias drift", "negative_bias", bias_drift=0.02, steps=1500, rate=0.01),
    Recipe("slow bias drift", "negative_bias", bias_drift=0.006, steps=1500, rate=0.01),
    Recipe("bias drift batchnorm", "negative_bias", bias_drift=0.01, steps=1500, norm=True),
    Recipe("negative bias", "negative_bias", first_bias=-8.0),
    Recipe("negative weights", "bad_initialization", negative_weights=True),
    Recipe("sparse", sparsity=0.02),
    Recipe("sparser", sparsity=0.1),
    Recipe("small batch", batch=4, rate=0.01, steps=1500),
    Recipe("small batch 8 adam", batch=8, optimizer="adam", rate=0.001, steps=1000),
    Recipe("input shift", "input_shift", shift=-4.0, rate=0.02),
    Recipe("sorted classes", loader="sorted", rate=0.01),
    Recipe("blocks of classes", loader="blocks", rate=0.02, steps=1000),
    Recipe("wide", widths=(512, 512)),
    Recipe("deep narrow", widths=(12, 12, 12, 12), rate=0.03),
    Recipe("deep", widths=(64, 64, 64, 64), rate=0.05),
    Recipe("deep raised", "high_learning_rate", widths=(64, 64, 64, 64), rate=0.02, rate_after=0.8),
    Recipe("long", steps=2500, rate=0.05),
    Recipe("NaN", "diverged", rate=0.05, rate_after=1e6),
)


@dataclass
class Run:
    """What a training left: records for the detector, truth for the judge."""

    recipe: Recipe
    seed: int
    layers: list[LayerInfo]
    records: list[Record]
    truth: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    def collapse(self, layer_id: int) -> int | None:
        """First step from which at least half of the units alive at the start stayed dead to the end."""
        at = None
        start = self.truth[layer_id][0][1]
        for step, share in self.truth[layer_id]:
            lost = share >= start + 0.5 * (1 - start) if start < 1 else True
            at = (step if at is None else at) if lost else None
        return at


def train(recipe: Recipe, seed: int) -> Run:
    """Train once, watched. The truth is measured by a copy of the forward pass that the SDK never sees."""
    torch.manual_seed(seed)
    x, y = _data()
    model = _model(recipe)
    optimizer = _optimizer(recipe, model)
    truth: dict[int, list[tuple[int, float]]] = {}
    losses = []
    with MemoryTransport() as memory:
        monitor = relumine.watch(model, optimizer, run_id=f"run-{seed}", mode="online")
        for step, rows in enumerate(_batches(recipe, y, seed), start=1):
            if (step - 1) % 10 == 0:
                _measure(model, x if step <= CHANGE else x + recipe.shift, step - 1, truth)
            _set_rate(recipe, optimizer, step)
            losses.append(_step(recipe, model, optimizer, x[rows] + (recipe.shift if step > CHANGE else 0.0), y[rows]))
            if recipe.bias_drift:
                _drift(model, recipe.bias_drift)
            monitor.log(loss=losses[-1])
        _measure(model, x + recipe.shift, recipe.steps, truth)
        monitor.close()
    layers = [info for upload in memory.uploads for info in upload.layers]
    return Run(recipe, seed, layers, memory.records(), truth, losses)


def _data() -> tuple[Tensor, Tensor]:
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32)
    return (x - x.mean()) / x.std(), torch.tensor(digits.target)


def _model(recipe: Recipe) -> nn.Sequential:
    parts: list[nn.Module] = []
    width = 64
    for units in recipe.widths:
        parts.append(nn.Linear(width, units))
        parts += [nn.BatchNorm1d(units)] if recipe.norm else []
        parts.append(nn.LeakyReLU() if recipe.leaky else nn.ReLU())
        width = units
    parts.append(nn.Linear(width, 10))
    second = [part for part in parts if isinstance(part, nn.Linear)][1]
    with torch.no_grad():
        if recipe.first_bias is not None:
            second.bias.fill_(recipe.first_bias)
        if recipe.negative_weights:
            second.weight.copy_(-second.weight.abs())
            second.bias.copy_(-second.bias.abs())
    return nn.Sequential(*parts)


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.rate)
    return torch.optim.SGD(model.parameters(), lr=recipe.rate, momentum=0.9)


def _set_rate(recipe: Recipe, optimizer: torch.optim.Optimizer, step: int) -> None:
    factors: dict[str, Callable[[], float]] = {
        "warmup": lambda: min(1.0, step / 100) * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps)),
        "cyclic": lambda: 0.1 + 0.9 * (0.5 - 0.5 * math.cos(2 * math.pi * step / 150)),
        "restarts": lambda: 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * (step % 200) / 200)),
        "ramp": lambda: 0.02 + 0.98 * min(1.0, step / 400),
    }
    rate = recipe.rate * (factors[recipe.schedule]() if recipe.schedule else 1.0)
    if recipe.rate_after is not None and step > CHANGE:
        rate = recipe.rate_after
    for group in optimizer.param_groups:
        group["lr"] = rate


def _step(recipe: Recipe, model: nn.Sequential, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    active: list[Tensor] = []
    watched = [part for part in model if isinstance(part, nn.ReLU)] if recipe.sparsity else []
    hooks = [part.register_forward_hook(lambda _part, _in, out: active.append(out)) for part in watched]
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    penalty = sum((out.abs().mean(0).sum() for out in active), torch.zeros(()))
    (loss + recipe.sparsity / 10 * penalty).backward()
    optimizer.step()
    for hook in hooks:
        hook.remove()
    return loss.item()


def _drift(model: nn.Sequential, amount: float) -> None:
    """A regulariser that pushes the second layer's pre-activations down through its bias (or BatchNorm's)."""
    places = [i for i, part in enumerate(model) if isinstance(part, nn.ReLU)]
    bias = model[places[1] - 1].bias
    with torch.no_grad():
        bias -= amount


def _batches(recipe: Recipe, y: Tensor, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    batches = []
    for step in range(recipe.steps):
        if recipe.loader == "shuffled":
            batches.append(random.integers(0, len(y), recipe.batch))
            continue
        label = step % 10 if recipe.loader == "sorted" else step // 40 % 10
        wanted = np.flatnonzero((y.numpy() == label) | (y.numpy() == (label + 1) % 10))
        batches.append(random.choice(wanted, recipe.batch))
    return batches


def _measure(model: nn.Sequential, x: Tensor, step: int, truth: dict[int, list[tuple[int, float]]]) -> None:
    """Forward over everything with BatchNorm on the batch's own statistics, by plain functions: no hook runs."""
    layer_id = 0
    with torch.no_grad():
        for part in model:
            if isinstance(part, (nn.ReLU, nn.LeakyReLU)):
                layer_id += 1
                truth.setdefault(layer_id, []).append((step, float((x <= 0).all(0).float().mean())))
            x = _apply(part, x)


def _apply(part: nn.Module, x: Tensor) -> Tensor:
    if isinstance(part, nn.Linear):
        return nn.functional.linear(x, part.weight, part.bias)
    if isinstance(part, nn.BatchNorm1d):
        return nn.functional.batch_norm(x, None, None, part.weight, part.bias, training=True)
    return nn.functional.leaky_relu(x, 0.01) if isinstance(part, nn.LeakyReLU) else torch.relu(x)
