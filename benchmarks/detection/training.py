"""One training of a recipe, watched through the public SDK, with the truth measured apart from it."""

from __future__ import annotations

import contextlib
import io
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import families
import faults
import numpy as np
import torch
from loaders import batches
from materials import material
from paces import pace
from recipe import Loader, Recipe
from runs import Run, tables_of
from torch import Tensor, nn
from truth import Activations, Watcher, outside

import relumine
from relumine.testing import MemoryTransport

AFTER_NAN = 40  # steps that a diverged training goes on
WEIGHTS = 0  # the parameter group of the weights, where biases have their own
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


def run_id_of(recipe: Recipe, seed: int) -> str:
    """The id of a training: the SDK's jitter follows from it, so that it looks at the same steps again."""
    return f"{zlib.crc32(recipe.fingerprint().encode()):08x}-{seed}"


def train(recipe: Recipe, seed: int, every: int | None = None, url: str | None = None) -> Run:
    """Train once. Everything but the SDK's own pace is fixed by recipe and seed.

    With ``url`` the records go to that server, and layers and tables of the run stay empty.
    """
    torch.manual_seed(seed)
    training = Training(recipe, seed)
    training.warm_up()
    memory, said = MemoryTransport(), io.StringIO()
    with memory if url is None else contextlib.nullcontext(), contextlib.redirect_stderr(said):
        run_id = run_id_of(recipe, seed)
        monitor = relumine.watch(
            training.model, training.optimizer, run_id=run_id, start_step=0, url=url, mode="online", every=every
        )
        for loss in training.steps():
            monitor.log(loss=loss)
        monitor.close(timeout=60)
        stats = monitor.sdk_stats() | {"said": said.getvalue()}
    layers = {info.layer_id: info.model_dump() for upload in memory.uploads for info in upload.layers}
    tables = tables_of(upload.records for upload in memory.uploads)
    truth = training.watcher.truth
    return Run(recipe, seed, every, list(layers.values()), tables, truth, training.losses, training.score(), stats)


class Training:
    """Model, optimizer and what befalls them, step by step.

    A rate that somebody lowers meanwhile stays lowered in proportion, as with ``lower_learning_rate`` and a scheduler.
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.material = recipe, material(recipe.material)
        self.model = families.build(faults.net_of(recipe), self.material)
        faults.prepare(recipe, self.model, self.material)
        self.optimizer = _optimizer(recipe, self.model)
        self._rates = [group["lr"] / recipe.optim.rate for group in self.optimizer.param_groups]
        self._given: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        self._random = np.random.default_rng(seed)
        self.losses: list[float] = []
        self.mended = False
        """Whether the owner of the data brought the inputs back to what they were."""
        self.loss_mended = False
        """Whether the owner took out what was added to the loss or its targets."""
        self.watcher = Watcher(self.model, lambda step: self._whole(step)[0])
        torch.manual_seed(seed + 1000)

    def warm_up(self) -> None:
        """Steps that nobody watches, as before a checkpoint: healthy ones."""
        for rows in batches(
            Loader(batch=self.recipe.loader.batch), self.material, self.recipe.warm_steps, self._random
        ):
            self.optimizer.zero_grad()
            self.material.loss(self.model(self.material.x[rows]), self.material.y[rows]).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def steps(self) -> Iterator[float]:
        """Make the steps; give out the loss of each, measuring in between."""
        self.watcher.see(0)
        ends = self.recipe.steps
        for step, rows in enumerate(batches(self.recipe.loader, self.material, ends, self._random), start=1):
            self.losses.append(self._step(step, rows))
            if math.isnan(self.losses[-1]) and ends == self.recipe.steps:
                ends = min(ends, step + AFTER_NAN)
            self.watcher.see(step, last=step == ends)
            yield self.losses[-1]
            if step == ends:
                return

    def longer(self, steps: int) -> None:
        """Steps beyond the recipe's end, at its last rate and with whatever fault holds there."""
        for rows in batches(self.recipe.loader, self.material, steps, self._random):
            self._step(self.recipe.steps, rows)

    def score(self) -> float:
        """How good it is at the end on everything as it then is: accuracy, or explained variance."""
        x, y = self._whole(self.recipe.steps)
        with torch.no_grad():
            return self.material.score(outside(self.model)(x), y)

    def _whole(self, step: int) -> tuple[Tensor, Tensor]:
        """The training set as the step after ``step`` finds it."""
        x = self._inputs(self.material.x, step + 1, bursts=False)
        y = x if self.material.mirror else self.material.y
        return x, self._targets(y, step + 1)

    def _inputs(self, x: Tensor, step: int, *, bursts: bool) -> Tensor:
        return x if self.mended else faults.inputs(self.recipe, self.material, x, step, bursts=bursts)

    def _targets(self, y: Tensor, step: int) -> Tensor:
        return y if self.loss_mended else faults.targets(self.recipe, y, step)

    def _step(self, step: int, rows: np.ndarray[Any, Any]) -> float:
        x = self._inputs(self.material.x[rows], step, bursts=True)
        y = self._targets(x if self.material.mirror else self.material.y[rows], step)
        self._set_rates(step)
        self.optimizer.zero_grad()
        needed = self.recipe.penalty or faults.pushes(self.recipe, step)
        with Activations() if needed else contextlib.nullcontext() as activations:
            output = self.model(x)
        loss = self.material.loss(output, y)
        extra = faults.extra_loss(
            self.recipe, step, activations.seen if activations else [], pushed=not self.loss_mended
        )
        (loss + extra).backward()  # type: ignore[no-untyped-call]
        if self.recipe.optim.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optim.clip)
        self.optimizer.step()
        return float(loss.detach())

    def _set_rates(self, step: int) -> None:
        rate = self.recipe.optim.rate * pace(self.recipe, step)
        for fault in self.recipe.faults:
            if fault.kind == "rate" and fault.holds(step):
                rate *= fault.amount ** fault.grown(step)
            if fault.kind == "resume" and step == fault.at + 1:
                self.optimizer.state.clear()
            if fault.kind == "momentum" and step == fault.at + 1:
                for group in self.optimizer.param_groups:
                    group["momentum"] = fault.amount
            if fault.kind == "decay" and step == fault.at + 1:
                self.optimizer.param_groups[WEIGHTS]["weight_decay"] = fault.amount
        self._give(rate)

    def _give(self, rate: float) -> None:
        for place, group in enumerate(self.optimizer.param_groups):
            if group["lr"] != self._given[place]:
                self._rates[place] *= group["lr"] / self._given[place]
            group["lr"] = self._given[place] = rate * self._rates[place]


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Weights and biases apart where the recipe or a fault tells them apart."""
    optim, told = recipe.optim, {fault.kind: fault for fault in recipe.faults}
    shared = {"momentum": 0.9} if optim.kind == "momentum" or "momentum" in told else {}
    groups = (
        _groups(recipe, model)
        if optim.groups or {"decay", "bias_rate", "layer_rate"} & told.keys()
        else [{"params": list(model.parameters()), "lr": optim.rate, "weight_decay": optim.decay}]
    )
    return OPTIMIZERS[optim.kind](groups, lr=optim.rate, **shared)


def _groups(recipe: Recipe, model: nn.Module) -> list[dict[str, Any]]:
    told = {fault.kind: fault for fault in recipe.faults}
    one = told.get("layer_rate")
    special = {id(p) for part in faults.chosen(model, one.layer) for p in part.parameters()} if one else set()
    weights = [p for p in model.parameters() if p.dim() > 1 and id(p) not in special]
    biases = [p for p in model.parameters() if p.dim() <= 1 and id(p) not in special]
    factor = told["bias_rate"].amount if "bias_rate" in told else 1.0
    rate, decay = recipe.optim.rate, recipe.optim.decay
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": rate, "weight_decay": decay},
        {"params": biases, "lr": rate * factor, "weight_decay": 0.0},
    ]
    if one:
        own = [p for p in model.parameters() if id(p) in special]
        groups.append({"params": own, "lr": rate * one.amount, "weight_decay": decay})
    return groups
