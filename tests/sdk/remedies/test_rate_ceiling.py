"""A learning rate that a remedy restored stays at or below its ceiling, whatever the schedule does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from relumine.remedies._on_alert.handler import apply
from tests.helpers.remedy_alerts import alert


def lrs_of_steps(multiplier, *, schedule=True, base_lr=0.1):
    """Train at ``multiplier(step)`` times ``base_lr``, lower it at step 6, and return the learning rate per step."""
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=base_lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, multiplier) if schedule else None
    handler = apply(model, optimizer, schedulers=[scheduler] if scheduler else ())
    lrs = []
    optimizer.register_step_post_hook(lambda *_: lrs.append(optimizer.param_groups[0]["lr"]))
    for step in range(20):
        if scheduler is None:
            optimizer.param_groups[0]["lr"] = base_lr * multiplier(step)
        if step == 6:
            lr = optimizer.param_groups[0]["lr"]
            evidence = {"learning_rate": {"now": lr, "before": base_lr, "changed_at_step": 5}}
            assert handler(alert(("lower_learning_rate", base_lr), evidence=evidence, opened_step=5))
        model(torch.randn(3, 2)).sum().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return lrs


def test_a_learning_rate_that_keeps_rising_is_held_at_the_ceiling():
    lrs = lrs_of_steps(lambda step: 1.5 ** max(0, step - 3))
    assert lrs[5] == pytest.approx(0.225)
    assert lrs[6:] == pytest.approx([0.1] * 14)


@pytest.mark.parametrize("schedule", [True, False])
def test_the_reduction_of_a_spike_is_reversed_after_it(schedule):
    lrs = lrs_of_steps(lambda step: 50.0 if 4 <= step < 10 else 1.0, schedule=schedule)
    assert lrs[4:6] == pytest.approx([5.0] * 2)
    assert lrs[6:] == pytest.approx([0.1] * 14)


@pytest.mark.parametrize("schedule", [True, False])
def test_a_schedule_that_falls_below_the_ceiling_is_followed(schedule):
    lrs = lrs_of_steps(lambda step: 50.0 if 4 <= step < 10 else 1.0 if step < 14 else 0.2, schedule=schedule)
    assert lrs[14:] == pytest.approx([0.02] * 6)


def test_after_stop_the_training_sets_its_learning_rate():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    handler = apply(model, optimizer)
    evidence = {"learning_rate": {"now": 0.5, "before": 0.1, "changed_at_step": 5}}
    handler(alert(("lower_learning_rate", 0.1), evidence=evidence))
    handler.stop()
    optimizer.param_groups[0]["lr"] = 0.7
    model(torch.randn(3, 2)).sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.7
