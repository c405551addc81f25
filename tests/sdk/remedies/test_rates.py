"""A lowered learning rate stays lowered: from then on a scheduler gives a fixed factor of what it would have given."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as schedule

from relumine.remedies._learning_rate import lower_learning_rate

STEPS = 60
LOWERED_AT = 17
FACTOR = 0.2
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in")  # from SequentialLR in older versions


def new_optimizer(kind=SGD, group_lrs=(0.4, 0.1)):
    return kind([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in group_lrs], lr=0.1)


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
    "OneCycleLR": lambda o: schedule.OneCycleLR(
        o, max_lr=[0.8, 0.2], total_steps=STEPS + LOWERED_AT + 2, cycle_momentum=False
    ),
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


def lrs(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(optimizer, scheduler, lower=None):
    lrs_by_step = []
    for step in range(STEPS):
        optimizer.step()
        scheduler.step()
        if step == LOWERED_AT and lower is not None:
            lower()
        lrs_by_step.append(lrs(optimizer))
    return lrs_by_step


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_later_learning_rate_is_the_factor_times_what_it_would_have_been(name):
    plain = new_optimizer()
    expected = run(plain, SCHEDULERS[name](plain))
    optimizer = new_optimizer()
    scheduler = SCHEDULERS[name](optimizer)
    lowered = run(optimizer, scheduler, lambda: lower_learning_rate(optimizer, factor=FACTOR, schedulers=scheduler))
    assert lowered[:LOWERED_AT] == expected[:LOWERED_AT]
    for expected_lrs, lowered_lrs in zip(expected[LOWERED_AT:], lowered[LOWERED_AT:], strict=True):
        assert lowered_lrs == pytest.approx([FACTOR * lr for lr in expected_lrs], rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_it_stays_lowered_after_a_round_trip_through_state_dicts(name):
    optimizer = new_optimizer()
    scheduler = SCHEDULERS[name](optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(LOWERED_AT):
            scheduler.step()
    lower_learning_rate(optimizer, factor=FACTOR, schedulers=[scheduler])
    other = new_optimizer()
    copied = SCHEDULERS[name](other)
    copied.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert run(other, copied) == run(optimizer, scheduler)


def test_a_plateau_scheduler_continues_from_the_lowered_rate_and_its_floor_is_lowered_too():
    optimizer = new_optimizer()
    scheduler = schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.1)
    result = lower_learning_rate(optimizer, 0.2, schedulers=scheduler)
    assert lrs(optimizer) == pytest.approx([0.2, 0.05])
    for _ in range(10):
        scheduler.step(1.0)
    assert lrs(optimizer) == pytest.approx([0.05, 0.05])
    assert result.value == pytest.approx(0.2)
    assert [(change.target, change.old) for change in result.changes] == [("group 0", 0.4), ("group 1", 0.1)]
    assert result.text == "learning rate 0.4 → 0.2, in 2 groups, and in ReduceLROnPlateau"


def test_a_learning_rate_in_a_tensor_is_changed_in_place():
    optimizer = new_optimizer(lambda groups, lr: Adam(groups, lr=lr, capturable=False), [torch.tensor(0.4)] * 2)
    shared = optimizer.param_groups[0]["lr"]
    scheduler = schedule.ExponentialLR(optimizer, 0.5)
    lower_learning_rate(optimizer, factor=0.25, schedulers=scheduler)
    assert optimizer.param_groups[0]["lr"] is shared
    assert float(shared) == pytest.approx(0.1)
    assert [float(lr) for lr in scheduler.base_lrs] == pytest.approx([0.1, 0.1])


def test_only_the_given_groups_are_lowered_and_a_floor_of_all_groups_is_left_unchanged_and_noted():
    optimizer = new_optimizer()
    scheduler = schedule.CosineAnnealingLR(optimizer, 40, eta_min=0.01)
    result = lower_learning_rate(optimizer, factor=0.5, schedulers=scheduler, groups=[1])
    assert lrs(optimizer) == pytest.approx([0.4, 0.05])
    assert scheduler.base_lrs == pytest.approx([0.4, 0.05])
    assert result.notes == ("CosineAnnealingLR.eta_min = 0.01 applies to all groups and was left unchanged",)
    assert result.as_dict()["changes"][0]["new"] == pytest.approx(0.05)


def test_a_scheduler_that_was_not_given_gives_a_warning():
    optimizer = new_optimizer()
    schedule.StepLR(optimizer, 5)
    with pytest.warns(UserWarning, match="may undo this"):
        result = lower_learning_rate(optimizer, 0.1)
    assert "schedulers=…" in result.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
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
def test_invalid_options_are_refused_and_change_nothing(options, message):
    optimizer = new_optimizer()
    with pytest.raises(ValueError, match=message):
        lower_learning_rate(optimizer, **options)
    assert lrs(optimizer) == [0.4, 0.1]
