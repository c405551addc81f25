"""fastai: its Learner with torch's optimizers in its wrapper, and with its own, whose steps the training counts."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import Adam, OptimWrapper

from benchmarks.frameworks.made_up import BATCH, mlp, rows
from benchmarks.frameworks.training import CountStep, Observe, Trained


class _Observer(Callback):
    """Observes the learner; ``counts_steps``: its optimizer is none of torch's."""

    def __init__(self, observe: Observe, *, counts_steps: bool) -> None:
        super().__init__()
        self._start = observe
        self._counts_steps = counts_steps
        self._count_step: CountStep | None = None
        self.losses: list[float] = []

    def before_fit(self) -> None:
        self._count_step = self._start(self.learn.model, None if self._counts_steps else self.learn.opt)

    def after_step(self) -> None:
        if self._counts_steps and self._count_step is not None:
            self._count_step()
        self.losses.append(self.learn.loss.item())


def train_with_torch_optimizer(observe: Observe) -> Trained:
    """Train an MLP by the one-cycle policy with Adam of torch."""
    return _train(partial(OptimWrapper, opt=torch.optim.Adam), _Observer(observe, counts_steps=False))


def train_with_own_optimizer(observe: Observe) -> Trained:
    """Train an MLP by the one-cycle policy with Adam of fastai."""
    return _train(Adam, _Observer(observe, counts_steps=True))


def _train(optimizer: Any, observer: _Observer) -> Trained:
    data = rows(12 * BATCH)
    loaders = DataLoaders(DataLoader(data, bs=BATCH, shuffle=True), DataLoader(data, bs=BATCH))
    learner = Learner(loaders, mlp(), loss_func=CrossEntropyLossFlat(), opt_func=optimizer, cbs=[observer])
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2, 1e-2)
    return Trained(learner.model, observer.losses, len(observer.losses))
