"""A lowered learning rate stays lowered: all that a scheduler gives from then on is the same part of what it would."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as schedule

from relumine.remedies import lower_learning_rate

STEPS, AT, PART = 60, 17, 0.2
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in")  # SequentialLR's own, on older versions


def new_optimizer(kind=SGD, rates=(0.4, 0.1)):
    return kind([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates], lr=0.1)


SCHEDULERS = {
    "LambdaLR": lambda o: schedule.LambdaLR(o, lambda epoch: 0.97**epoch),
    "LambdaLR warm-up": lambda o: schedule.LambdaLR(o, lambda epoch: min(1.0, (epoch + 1) / 30)),
    "MultiplicativeLR": lambda o: schedule.MultiplicativeLR(o, lambda _: 0.98),
    "StepLR": lambda o: schedule.StepLR(o, 7, gamma=0.6),
    "MultiStepLR": lambda o: schedule.MultiStepLR(o, [10, 25], gamma=0.3),
    "ExponentialLR": lambda o: schedule.ExponentialLR(o, 0.97),
    "ConstantLR": lambda o: schedule.ConstantLR(o, factor=0.5, total_iters=25),
    "LinearLR": lambda o: schedule.LinearLR(o, start_factor=0.1, total_iters=30),
    "PolynomialLR": lambda o: schedule.PolynomialLR(o, total_iters=50, power=2.0),
    "CosineAnnealingLR": lambda o: schedule.CosineAnnealingLR(o, 40, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda o: schedule.CosineAnnealingWarmRestarts(o, 9, 2, eta_min=0.01),
    "OneCycleLR": lambda o: schedule.OneCycleLR(o, max_lr=[0.8, 0.2], total_steps=STEPS + AT + 2, cycle_momentum=False),
    "CyclicLR": lambda o: schedule.CyclicLR(o, [0.01, 0.02], [0.4, 0.1], step_size_up=8, cycle_momentum=False),
    "SequentialLR": lambda o: schedule.SequentialLR(
        o,
        [
            schedule.LinearLR(o, start_factor=0.1, total_iters=20),
            schedule.CosineAnnealingLR(o, 20, eta_min=0.01),
            schedule.CosineAnnealingWarmRestarts(o, 5),
        ],
        [20, 40],
    ),
    "ChainedScheduler": lambda o: schedule.ChainedScheduler(
        [schedule.ConstantLR(o, factor=0.1, total_iters=20), schedule.ExponentialLR(o, 0.98)]
    ),
}


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(optimizer, scheduler, lower=None):
    seen = []
    for step in range(STEPS):
        optimizer.step()
        scheduler.step()
        if step == AT and lower is not None:
            lower()
        seen.append(rates(optimizer))
    return seen


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_rate_still_to_come_is_the_same_part_of_what_it_would_have_been(name):
    plain = new_optimizer()
    would = run(plain, SCHEDULERS[name](plain))
    optimizer = new_optimizer()
    scheduler = SCHEDULERS[name](optimizer)
    found = run(optimizer, scheduler, lambda: lower_learning_rate(optimizer, factor=PART, schedulers=scheduler))
    assert found[:AT] == would[:AT]
    for was, now in zip(would[AT:], found[AT:], strict=True):
        assert now == pytest.approx([PART * rate for rate in was], rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_it_stays_lowered_over_a_round_trip_through_state_dicts(name):
    optimizer = new_optimizer()
    scheduler = SCHEDULERS[name](optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(AT):
            scheduler.step()
    lower_learning_rate(optimizer, factor=PART, schedulers=[scheduler])
    other = new_optimizer()
    copied = SCHEDULERS[name](other)
    copied.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert run(other, copied) == run(optimizer, scheduler)


def test_a_plateau_goes_on_from_the_lowered_rate_and_its_floor_is_lowered_too():
    optimizer = new_optimizer()
    scheduler = schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.1)
    done = lower_learning_rate(optimizer, 0.2, schedulers=scheduler)
    assert rates(optimizer) == pytest.approx([0.2, 0.05])
    for _ in range(10):
        scheduler.step(1.0)
    assert rates(optimizer) == pytest.approx([0.05, 0.05])
    assert done.value == pytest.approx(0.2)
    assert [(change.place, change.before) for change in done.changes] == [("group 0", 0.4), ("group 1", 0.1)]
    assert done.text == "learning rate 0.4 → 0.2, in 2 groups, and in ReduceLROnPlateau"


def test_a_rate_held_in_a_tensor_is_changed_in_place():
    optimizer = new_optimizer(lambda groups, lr: Adam(groups, lr=lr, capturable=False), [torch.tensor(0.4)] * 2)
    shared = optimizer.param_groups[0]["lr"]
    scheduler = schedule.ExponentialLR(optimizer, 0.5)
    lower_learning_rate(optimizer, factor=0.25, schedulers=scheduler)
    assert optimizer.param_groups[0]["lr"] is shared
    assert float(shared) == pytest.approx(0.1)
    assert [float(rate) for rate in scheduler.base_lrs] == pytest.approx([0.1, 0.1])


def test_only_the_chosen_groups_are_lowered_and_a_floor_for_all_is_left_and_said():
    optimizer = new_optimizer()
    scheduler = schedule.CosineAnnealingLR(optimizer, 40, eta_min=0.01)
    done = lower_learning_rate(optimizer, factor=0.5, schedulers=scheduler, groups=[1])
    assert rates(optimizer) == pytest.approx([0.4, 0.05])
    assert scheduler.base_lrs == pytest.approx([0.4, 0.05])
    assert done.notes == ("CosineAnnealingLR.eta_min = 0.01 holds for all groups and was left as it is",)
    assert done.as_dict()["changes"][0]["after"] == pytest.approx(0.05)


def test_a_scheduler_that_was_not_given_is_warned_of():
    optimizer = new_optimizer()
    schedule.StepLR(optimizer, 5)
    with pytest.warns(UserWarning, match="may undo this"):
        done = lower_learning_rate(optimizer, 0.1)
    assert "schedulers=…" in done.notes[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": 0.4}, "not lower"),
        ({"lr": float("nan")}, "not lower"),
        ({"factor": 1.0}, "between 0 and 1"),
        ({"factor": -1.0}, "between 0 and 1"),
        ({}, "either lr or factor"),
        ({"lr": 0.1, "factor": 0.1}, "either lr or factor"),
        ({"lr": 0.1, "groups": [2]}, "groups 0 to 1"),
        ({"lr": 0.1, "schedulers": schedule.StepLR(new_optimizer(), 3)}, "another optimizer"),
    ],
)
def test_what_cannot_be_done_changes_nothing(wrong, message):
    optimizer = new_optimizer()
    with pytest.raises(ValueError, match=message):
        lower_learning_rate(optimizer, **wrong)
    assert rates(optimizer) == [0.4, 0.1]
