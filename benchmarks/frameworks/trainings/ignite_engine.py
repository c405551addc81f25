"""ignite: its supervised trainer, with an evaluator between epochs."""

from __future__ import annotations

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from torch.nn import functional

from benchmarks.frameworks.made_up import STEPS, mlp, row_batches
from benchmarks.frameworks.training import Observe, Trained


def train_classifier(observe: Observe) -> Trained:
    """Train an MLP for two epochs."""
    model = mlp()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    trainer = create_supervised_trainer(model, optimizer, functional.cross_entropy)
    evaluator = create_supervised_evaluator(model)
    batches = row_batches(STEPS // 2)
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _engine: evaluator.run(batches[:2]))
    observe(model, optimizer)
    trainer.run(batches, max_epochs=2)
    return Trained(model, losses, trainer.state.iteration)
