"""Weight decay is lowered in the groups that have more, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from relumine.remedies._on_alert.handler import apply
from relumine.remedies._weight_decay import lower_weight_decay
from tests.helpers.remedy_alerts import alert


def optimizer_of(model, *decays):
    groups = [
        {"params": [parameter], "weight_decay": decay}
        for parameter, decay in zip(model.parameters(), decays, strict=True)
    ]
    return torch.optim.AdamW(groups, lr=0.1)


def test_groups_with_more_are_lowered_and_reported():
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.0)
    result = lower_weight_decay(optimizer, 0.01)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert result.text == "weight decay 0.5 → 0.01"
    assert [(change.target, change.parameter, change.old, change.new) for change in result.changes] == [
        ("group 0", "weight_decay", 0.5, 0.01)
    ]


def test_only_the_given_groups_are_lowered():
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.4)
    assert lower_weight_decay(optimizer, groups=[1]).text == "weight decay 0.4 → 0"
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": 0.5}, "no group has a weight decay above 0.5"),
        ({"weight_decay": -1.0}, "weight_decay -1.0 is not a finite number"),
        ({"weight_decay": float("nan")}, "is not a finite number"),
        ({"groups": [2]}, "groups 0 to 1"),
    ],
)
def test_options_that_lower_nothing_are_refused(options, message):
    optimizer = optimizer_of(nn.Linear(2, 2), 0.5, 0.1)
    with pytest.raises(ValueError, match=message):
        lower_weight_decay(optimizer, **options)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.1]


def test_apply_lowers_it_and_restores_a_checkpoint_from_before_the_weights_shrank():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.9)
    handler = apply(model, optimizer, checkpoint_every=5, cooldown_steps=3)
    for _ in range(12):
        model(torch.randn(8, 2)).sum().backward()
        optimizer.step()
    result = handler(alert(("lower_weight_decay", 0.0), cause="negative_bias", opened_step=12))
    assert result.text == "weight decay 0.9 → 0; restored weights and moments from 7 steps ago"
