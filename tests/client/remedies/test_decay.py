"""Weight decay is taken off the groups that have too much of it, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from proposing import alert
from torch import nn

from relumine.remedies import apply, lower_weight_decay


def optimizer_of(model, *decays):
    groups = [{"params": [one], "weight_decay": decay} for one, decay in zip(model.parameters(), decays, strict=True)]
    return torch.optim.AdamW(groups, lr=0.1)


def test_groups_with_more_are_lowered_and_said():
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.0)
    done = lower_weight_decay(optimizer, 0.01)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert done.text == "weight decay 0.5 → 0.01"
    assert [(one.place, one.parameter, one.before, one.after) for one in done.changes] == [
        ("group 0", "weight_decay", 0.5, 0.01)
    ]


def test_only_the_groups_that_are_meant_are():
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.4)
    assert lower_weight_decay(optimizer, groups=[1]).text == "weight decay 0.4 → 0"
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"weight_decay": 0.5}, "no group has a weight decay above 0.5"),
        ({"weight_decay": -1.0}, "weight_decay -1.0 is not a decay"),
        ({"weight_decay": float("nan")}, "is not a decay"),
        ({"groups": [2]}, "groups 0 to 1"),
    ],
)
def test_what_cannot_be_lowered_is_refused(options, why):
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.1)
    with pytest.raises(ValueError, match=why):
        lower_weight_decay(optimizer, **options)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.1]


def test_apply_does_it_and_goes_back_to_before_the_weights_shrank():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.9)
    treat = apply(model, optimizer, keep_every=5, cooldown_steps=3)
    for _ in range(12):
        model(torch.randn(8, 2)).sum().backward()
        optimizer.step()
    done = treat(alert(("lower_weight_decay", 0.0), cause="negative_bias", opened_step=12))
    assert done.text == "weight decay 0.9 → 0; weights and moments are those of 7 steps ago"
