"""One training of a recipe, watched through the public SDK, with the ground truth measured beside it."""

from __future__ import annotations

import contextlib
import io
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import relumine
from relumine.testing import InMemoryTransport
from research.corpus import faults, model_families
from research.corpus.datasets import load_dataset
from research.corpus.ground_truth import ActivationRecorder, GroundTruthRecorder, measuring_copy
from research.corpus.loaders import Rows, batches
from research.corpus.lr_schedules import learning_rate_factor
from research.corpus.recipe import Fault, Loader, Recipe
from research.corpus.run_store import Run, table_arrays

STEPS_AFTER_NAN = 40
"""Steps that a diverged training goes on for."""
WEIGHTS = 0
"""Parameter group of the weights, where biases have a group of their own."""
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


def run_id_of(recipe: Recipe, seed: int) -> str:
    """Return the run id of a training. The SDK's jitter follows from it, so the same steps are sampled every time."""
    return f"{zlib.crc32(recipe.fingerprint().encode()):08x}-{seed}"


def train(
    recipe: Recipe,
    seed: int,
    every: int | None = None,
    url: str | None = None,
    memory: InMemoryTransport | None = None,
    upload_every: int | None = None,
) -> Run:
    """Train once. Recipe and seed determine everything but the SDK's sampling interval.

    With ``url`` the records are sent to that server, and layers and tables of the run stay empty; without it they are
    sent to ``memory``. They are uploaded at the SDK's own pace, or every ``upload_every`` steps.
    """
    torch.manual_seed(seed)
    training = Training(recipe, seed)
    training.warm_up()
    memory = memory or InMemoryTransport()
    with memory if url is None else contextlib.nullcontext():
        stats = _run_watched(training, run_id_of(recipe, seed), every, url, upload_every)
    layers = {info.layer_id: info.model_dump() for upload in memory.uploads for info in upload.layers}
    return Run(
        recipe=recipe,
        seed=seed,
        every=every,
        layers=list(layers.values()),
        tables=table_arrays(upload.records for upload in memory.uploads),
        truth=training.recorder.truth,
        losses=training.losses,
        score=training.score(),
        stats=stats,
    )


def _run_watched(
    training: Training, run_id: str, every: int | None, url: str | None, upload_every: int | None
) -> dict[str, Any]:
    """Make all steps under the SDK; return its statistics and log."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        monitor = relumine.watch(
            training.model, training.optimizer, run_id=run_id, start_step=0, url=url, mode="online", every=every
        )
        for step, loss in enumerate(training.steps(), start=1):
            monitor.log(loss=loss)
            if upload_every is not None and step % upload_every == 0:
                monitor.flush(timeout=60)
        monitor.close(timeout=60)
        return monitor.sdk_stats() | {"log": log.getvalue()}


class Training:
    """Model, optimizer and faults, step by step.

    A learning rate that is lowered from outside stays lowered in proportion, as with ``lower_learning_rate`` and a
    scheduler.
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe = recipe
        self.dataset = load_dataset(recipe.dataset)
        self.model = model_families.build(faults.net_of(recipe), self.dataset)
        faults.prepare(recipe, self.model, self.dataset)
        self.optimizer = _optimizer(recipe, self.model)
        self._factors = [group["lr"] / recipe.optim.rate for group in self.optimizer.param_groups]
        self._assigned: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        self._random = np.random.default_rng(seed)
        self.losses: list[float] = []
        self.inputs_fixed = False
        """True if the owner of the data restored the inputs."""
        self.loss_fixed = False
        """True if the owner removed what was added to the loss or its targets."""
        self.recorder = GroundTruthRecorder(self.model, lambda step: self._training_set_after(step)[0])
        torch.manual_seed(seed + 1000)

    def warm_up(self) -> None:
        """Train healthily for ``warm_steps`` without watching, as before a checkpoint."""
        loader = Loader(batch=self.recipe.loader.batch)
        for rows in batches(loader, self.dataset, self.recipe.warm_steps, self._random):
            self.optimizer.zero_grad()
            loss = self.dataset.loss(self.model(self.dataset.x[rows]), self.dataset.y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def steps(self) -> Iterator[float]:
        """Train, record the ground truth, and yield the loss of each step."""
        self.recorder.record(0)
        last_step = self.recipe.steps
        for step, rows in enumerate(batches(self.recipe.loader, self.dataset, last_step, self._random), start=1):
            self.losses.append(self._step(step, rows))
            if math.isnan(self.losses[-1]) and last_step == self.recipe.steps:
                last_step = min(last_step, step + STEPS_AFTER_NAN)
            self.recorder.record(step, is_last=step == last_step)
            yield self.losses[-1]
            if step == last_step:
                return

    def continue_for(self, steps: int) -> None:
        """Train beyond the recipe's end, at its last learning rate and with the faults that are active there."""
        for rows in batches(self.recipe.loader, self.dataset, steps, self._random):
            self._step(self.recipe.steps, rows)

    def score(self) -> float:
        """Return the accuracy or explained variance at the end, on the training set as it is then."""
        x, y = self._training_set_after(self.recipe.steps)
        with torch.no_grad():
            return self.dataset.score(measuring_copy(self.model)(x), y)

    def _training_set_after(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the training set as the step after ``step`` gets it."""
        x = self._inputs(self.dataset.x, step + 1, bursts=False)
        y = x if self.dataset.is_mirror else self.dataset.y
        return x, self._targets(y, step + 1)

    def _inputs(self, x: Tensor, step: int, *, bursts: bool) -> Tensor:
        return x if self.inputs_fixed else faults.inputs_at(self.recipe, self.dataset, x, step, bursts=bursts)

    def _targets(self, y: Tensor, step: int) -> Tensor:
        return y if self.loss_fixed else faults.targets_at(self.recipe, y, step)

    def _step(self, step: int, rows: Rows) -> float:
        x = self._inputs(self.dataset.x[rows], step, bursts=True)
        y = self._targets(x if self.dataset.is_mirror else self.dataset.y[rows], step)
        self._set_learning_rate(step)
        self.optimizer.zero_grad()
        needs_activations = bool(self.recipe.penalty or faults.active_pushes(self.recipe, step))
        with ActivationRecorder() if needs_activations else contextlib.nullcontext() as recorder:
            output = self.model(x)
        loss = self.dataset.loss(output, y)
        activations = recorder.activations if recorder else []
        extra = faults.extra_loss(self.recipe, step, activations, with_pushes=not self.loss_fixed)
        (loss + extra).backward()  # type: ignore[no-untyped-call]
        if self.recipe.optim.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optim.clip)
        self.optimizer.step()
        return float(loss.detach())

    def _set_learning_rate(self, step: int) -> None:
        rate = self.recipe.optim.rate * learning_rate_factor(self.recipe, step)
        for fault in self.recipe.faults:
            if fault.kind == "rate" and fault.is_active(step):
                rate *= fault.amount ** fault.ramp_share(step)
            if step == fault.start + 1:
                self._change_optimizer(fault)
        for index, group in enumerate(self.optimizer.param_groups):
            if group["lr"] != self._assigned[index]:  # changed from outside
                self._factors[index] *= group["lr"] / self._assigned[index]
            self._assigned[index] = rate * self._factors[index]
            group["lr"] = self._assigned[index]

    def _change_optimizer(self, fault: Fault) -> None:
        """Apply a fault of the optimizer in its first step."""
        if fault.kind == "resume":
            self.optimizer.state.clear()
        elif fault.kind == "momentum":
            for group in self.optimizer.param_groups:
                group["momentum"] = fault.amount
        elif fault.kind == "decay":
            self.optimizer.param_groups[WEIGHTS]["weight_decay"] = fault.amount


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer, with groups of weights and biases where the recipe or a fault distinguishes them."""
    optim = recipe.optim
    kinds = {fault.kind for fault in recipe.faults}
    momentum = {"momentum": 0.9} if optim.kind == "momentum" or "momentum" in kinds else {}
    if optim.groups or {"decay", "bias_rate", "layer_rate"} & kinds:
        groups = _parameter_groups(recipe, model)
    else:
        groups = [{"params": list(model.parameters()), "lr": optim.rate, "weight_decay": optim.decay}]
    return OPTIMIZERS[optim.kind](groups, lr=optim.rate, **momentum)


def _parameter_groups(recipe: Recipe, model: nn.Module) -> list[dict[str, Any]]:
    """Return groups of weights, of biases, and of the layer with a learning rate of its own if there is one."""
    faults_by_kind = {fault.kind: fault for fault in recipe.faults}
    layer_fault = faults_by_kind.get("layer_rate")
    bias_fault = faults_by_kind.get("bias_rate")
    of_layer: set[int] = set()
    if layer_fault is not None:
        for producer in faults.affected_producers(model, layer_fault.layer):
            of_layer |= {id(parameter) for parameter in producer.parameters()}
    weights = [p for p in model.parameters() if p.dim() > 1 and id(p) not in of_layer]
    biases = [p for p in model.parameters() if p.dim() <= 1 and id(p) not in of_layer]
    rate = recipe.optim.rate
    decay = recipe.optim.decay
    bias_rate = rate * (bias_fault.amount if bias_fault is not None else 1.0)
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": rate, "weight_decay": decay},
        {"params": biases, "lr": bias_rate, "weight_decay": 0.0},
    ]
    if layer_fault is not None:
        parameters = [p for p in model.parameters() if id(p) in of_layer]
        groups.append({"params": parameters, "lr": rate * layer_fault.amount, "weight_decay": decay})
    return groups
