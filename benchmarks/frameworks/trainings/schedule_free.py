"""schedulefree: an optimizer that swaps the weights between training and evaluation."""

from __future__ import annotations

from schedulefree import AdamWScheduleFree

from benchmarks.frameworks.made_up import FunctionalMLP, row_batches, train
from benchmarks.frameworks.training import Observe, Trained


def train_classifier(observe: Observe) -> Trained:
    """Train an MLP, and leave the optimizer in evaluation at the end."""
    model = FunctionalMLP()
    optimizer = AdamWScheduleFree(model.parameters(), lr=1e-2, warmup_steps=5)
    optimizer.train()
    trained = train(model, optimizer, row_batches(), observe)
    optimizer.eval()
    return trained
