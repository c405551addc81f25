"""With copies kept, what a lower rate or a mended input cannot bring back is fetched from before the trouble."""

from __future__ import annotations

import copy

import pytest
import torch
from proposing import LOWER, alert
from torch import nn
from torch.nn import functional

from relumine.remedies import apply

RAISED = {"evidence": {"learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 30}}, "opened_step": 34}


class Training:
    """A small training that is treated, and how it was after each step."""

    def __init__(self, optimizer=torch.optim.Adam, **options):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = optimizer(self.model.parameters(), lr=0.3)
        self.treat = apply(self.model, self.optimizer, **{"keep_every": 5, "cooldown_steps": 5} | options)
        self.was = [self.now()]

    def now(self):
        moments = [copy.deepcopy(self.optimizer.state.get(one, {})) for one in self.model.parameters()]
        return copy.deepcopy(self.model.state_dict()), moments

    def steps(self, count):
        for _ in range(count):
            self.optimizer.zero_grad()
            functional.mse_loss(self.model(torch.randn(16, 4)), torch.zeros(16, 2)).backward()
            self.optimizer.step()
            self.was.append(self.now())


def same(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    return True


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_a_lower_rate_goes_back_to_before_the_rate_was_raised_exactly(optimizer):
    training = Training(optimizer)
    training.steps(35)
    done = training.treat(alert(("lower_learning_rate", 0.05), ("reinitialize", None), kind="dead", **RAISED))
    assert "weights and moments are those of 10 steps ago" in done.text
    assert same(
        training.now(), training.was[25]
    )  # 31 less the patience for what was heard late, and of each fifth step
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert {"0.weight", "1.running_mean", "3.bias"} <= {change.place for change in done.changes}
    training.steps(2)
    assert not torch.equal(training.model[0].weight, training.was[25][0]["0.weight"])


def test_nothing_is_fetched_that_is_not_finite():
    training = Training()
    training.steps(12)
    with torch.no_grad():
        training.model[0].weight.fill_(torch.nan)
    training.steps(10)
    training.treat(alert(("lower_learning_rate", 0.05), kind="diverged", **LOWER, opened_step=22))
    assert same(training.now(), training.was[5])
    training.steps(1)
    assert training.model[0].weight.isfinite().all()


def test_where_all_copies_are_of_the_trouble_the_lost_are_drawn_anew():
    training = Training()
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.steps(30)
    late = {"learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 0}}
    done = training.treat(
        alert(("lower_learning_rate", 0.05), ("reinitialize", None), layer="2", evidence=late, opened_step=30)
    )
    assert done.units == {"2": tuple(range(8))}
    assert "steps ago" not in done.text


def test_while_an_alert_waits_for_its_turn_nothing_of_its_trouble_is_kept():
    training = Training(keep_every=10, cooldown_steps=20, own={"normalize_input": lambda *_: True})
    training.steps(31)
    training.treat(alert(("lower_learning_rate", 0.2), id="r.1.dying", **RAISED))
    other = alert(("normalize_input", 0.0), id="r.2.dead", **RAISED)
    training.treat(other)
    training.steps(30)
    done = training.treat(other)
    assert "steps ago" in done.text
    assert any(one[0]["0.weight"].equal(training.model[0].weight) for one in training.was[:32])


def test_a_parameter_that_came_since_stays_and_one_without_a_memory_then_has_none_again():
    training = Training()
    training.model[2] = nn.PReLU(init=0.7)
    training.optimizer.add_param_group({"params": training.model[2].parameters()})
    training.steps(3)
    slope = training.model[2].weight.clone()
    training.treat(alert(("lower_learning_rate", 0.05), **LOWER, opened_step=3))
    assert same(training.model[2].weight, slope)
    assert not any(training.optimizer.state.values())
    assert same(training.now()[0]["0.weight"], training.was[0][0]["0.weight"])


def test_what_only_the_owner_can_do_is_asked_of_the_owner_and_told():
    heard = []
    training = Training(own={"normalize_input": lambda alert, remedy: heard.append((alert.id, remedy.value)) or "x100"})
    training.steps(12)
    done = training.treat(alert(("normalize_input", 0.0), ("lower_learning_rate", 0.05), **LOWER, opened_step=12))
    assert heard == [("r.1.dying", 0.0)]
    assert done.action == "normalize_input"
    assert done.text == "normalize_input by its owner: x100; weights and moments are those of 12 steps ago"
    assert training.optimizer.param_groups[0]["lr"] == 0.3


def test_what_the_owner_does_not_do_leaves_the_turn_to_the_next_remedy():
    training = Training(own={"normalize_input": lambda *_: False}, keep_every=None)
    training.steps(1)
    done = training.treat(alert(("normalize_input", 0.0), ("lower_learning_rate", 0.05), **LOWER))
    assert done.action == "lower_learning_rate"


def test_copies_are_made_every_so_many_steps_or_not_at_all():
    with pytest.raises(ValueError, match="keep_every is 0"):
        Training(keep_every=0)
