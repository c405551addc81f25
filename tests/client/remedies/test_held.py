"""A rate that a remedy brought back stays there, whatever the schedule does, and is no lower than it says."""

from __future__ import annotations

import pytest
import torch
from proposing import alert
from torch import nn

from relumine.remedies import apply


def treated(given, *, schedule=True, rate=0.1):
    """The rates that steps were made at, under ``given``(step) times ``rate``; a raised rate is answered at step 6."""
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, given) if schedule else None
    treat = apply(model, optimizer, schedulers=[scheduler] if scheduler else ())
    made = []
    optimizer.register_step_post_hook(lambda *_: made.append(optimizer.param_groups[0]["lr"]))
    for step in range(20):
        if scheduler is None:
            optimizer.param_groups[0]["lr"] = rate * given(step)
        if step == 6:
            now = optimizer.param_groups[0]["lr"]
            told = {"learning_rate": {"now": now, "before": rate, "changed_at_step": 5}}
            assert treat(alert(("lower_learning_rate", rate), evidence=told, opened_step=5))
        model(torch.randn(3, 2)).sum().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return made


def test_a_rate_that_creeps_on_is_held():
    made = treated(lambda step: 1.5 ** max(0, step - 3))
    assert made[5] == pytest.approx(0.225)
    assert made[6:] == pytest.approx([0.1] * 14)


@pytest.mark.parametrize("schedule", [True, False])
def test_what_was_taken_off_a_spike_is_given_back_after_it(schedule):
    made = treated(lambda step: 50.0 if 4 <= step < 10 else 1.0, schedule=schedule)
    assert made[4:6] == pytest.approx([5.0] * 2)
    assert made[6:] == pytest.approx([0.1] * 14)


@pytest.mark.parametrize("schedule", [True, False])
def test_a_schedule_that_falls_below_is_followed(schedule):
    made = treated(lambda step: 50.0 if 4 <= step < 10 else 1.0 if step < 14 else 0.2, schedule=schedule)
    assert made[14:] == pytest.approx([0.02] * 6)


def test_after_stop_the_rate_is_the_trainings_own():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    treat = apply(model, optimizer)
    told = {"learning_rate": {"now": 0.5, "before": 0.1, "changed_at_step": 5}}
    treat(alert(("lower_learning_rate", 0.1), evidence=told))
    treat.stop()
    optimizer.param_groups[0]["lr"] = 0.7
    model(torch.randn(3, 2)).sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.7
