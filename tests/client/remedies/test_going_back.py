"""With copies kept, what a lower rate or a mended input cannot bring back is fetched from before the trouble."""

from __future__ import annotations

import copy

import pytest
import torch
from proposing import LOWER, alert
from torch import nn
from torch.nn import functional

from relumine._applied import LATER
from relumine.remedies import apply
from relumine.remedies._copies import Copies
from relumine.remedies._told import before

RAISED = {"evidence": {"learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 30}}, "opened_step": 34}


class Training:
    """A small training that is treated, and how it was after each step."""

    def __init__(self, optimizer=torch.optim.Adam, **options):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = optimizer(self.model.parameters(), lr=0.05)
        self.treat = apply(self.model, self.optimizer, **{"keep_every": 5, "cooldown_steps": 5} | options)
        self.was = [self.now()]

    def now(self):
        moments = [copy.deepcopy(self.optimizer.state.get(one, {})) for one in self.model.parameters()]
        return copy.deepcopy(self.model.state_dict()), moments

    def steps(self, count, rate=None):
        for group in self.optimizer.param_groups:
            group["lr"] = rate or group["lr"]
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
    training.steps(32)
    training.steps(3, rate=0.3)
    done = training.treat(alert(("lower_learning_rate", 0.05), ("reinitialize", None), kind="dead", **RAISED))
    assert "weights and moments are those of 5 steps ago" in done.text
    assert same(training.now(), training.was[30])  # the newest of each fifth step that was made at the sound rate
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert {"0.weight", "1.running_mean", "3.bias"} <= {change.place for change in done.changes}
    training.steps(2)
    assert not torch.equal(training.model[0].weight, training.was[30][0]["0.weight"])


def test_nothing_is_fetched_that_is_not_finite():
    training = Training()
    training.steps(12)
    with torch.no_grad():
        training.model[0].weight.fill_(torch.nan)
    training.steps(10)
    training.treat(alert(("lower_learning_rate", 0.05), kind="diverged", **LOWER, opened_step=22))
    assert same(training.now(), training.was[10])
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
    other = alert(("normalize_input", 0.0), layer="2", id="r.2.dead", **RAISED)
    training.treat(other)
    training.steps(30)
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    done = training.treat(other)
    assert "steps ago" in done.text
    assert any(one[0]["0.weight"].equal(training.model[0].weight) for one in training.was[:32])


def test_what_was_heard_of_steps_that_are_undone_is_answered_only_where_most_of_the_layer_is_lost():
    training = Training()
    training.steps(12)
    told = alert(("lower_learning_rate", 0.01), layer="2", id="r.2.dying", opened_step=12, **LOWER)
    treated = training.treat(alert(("lower_learning_rate", 0.05), layer="2", opened_step=12, **LOWER))
    assert "steps ago" in treated.text
    assert training.treat(told) is LATER
    training.steps(6)
    assert training.treat(told) is LATER  # heard before the training went back, and the units fire
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.steps(1)
    assert training.treat(told) is LATER  # looked at once in a patience
    training.steps(5)
    assert training.treat(told).action == "lower_learning_rate"


def test_an_alert_that_comes_again_is_heard_anew():
    training = Training()
    training.steps(12)
    first = alert(("lower_learning_rate", 0.05), layer="2", opened_step=12, **LOWER)
    assert "steps ago" in training.treat(first).text
    training.steps(12)
    again = alert(("reset_bias", 0.0), ("lower_learning_rate", 0.01), layer="2", state="regressed", **LOWER)
    assert training.treat(again).action == "lower_learning_rate"


def test_going_back_never_undoes_a_repair():
    training = Training()
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.steps(3)
    assert training.treat(alert(("reset_bias", 0.0), layer="2", kind="born_dead")).action == "reset_bias"
    training.steps(7)
    far = {"evidence": {"learning_rate": {"now": 0.05, "before": 0.05, "changed_at_step": None}}}
    early = alert(("lower_learning_rate", 0.01), id="r.3.dying", **far, opened_step=9)
    assert training.treat(early).text == "learning rate 0.05 → 0.01"  # all older copies are of the trouble
    training.steps(13)
    done = training.treat(alert(("lower_learning_rate", 0.001), id="r.4.dying", **far, opened_step=22))
    assert "steps ago" in done.text
    assert training.model[1].bias.min() > -59


def test_copies_reach_back_to_the_first_step_though_few_are_kept():
    model = nn.Linear(2, 2)
    copies = Copies(model, torch.optim.SGD(model.parameters(), lr=0.1), 10)
    for step in range(1, 2001):
        copies.keep(step)
    found = [copies.go_back(before) for before in (1990, 1900, 1500, 5)]
    assert [1980 <= found[0][0] <= 1990, 1700 <= found[1][0] <= 1900, 700 <= found[2][0] <= 1500] == [True] * 3
    assert found[3][0] == 0


def test_before_a_changed_input_lies_little_before_it_was_seen():
    fed = alert(cause="input_shift", opened_step=120, evidence={"input": {"changed_at_step": 100}})
    assert before(fed, 121, 50) == 91
    assert before(alert(opened_step=120), 121, 50) == 21
    late = alert(opened_step=120, evidence={"learning_rate": {"changed_at_step": 20}})
    assert before(late, 90, 50) == -1  # it changed before anything was counted


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
    assert training.optimizer.param_groups[0]["lr"] == 0.05


def test_a_loss_that_its_owner_mended_is_gone_back_before():
    training = Training(own={"check_loss": lambda *_: True})
    training.steps(20)
    done = training.treat(alert(("check_loss", None), cause="negative_bias", opened_step=20))
    assert done.text == "check_loss by its owner; weights and moments are those of 10 steps ago"
    assert same(training.now(), training.was[10])


def test_what_the_owner_does_not_do_leaves_the_turn_to_the_next_remedy():
    training = Training(own={"normalize_input": lambda *_: False}, keep_every=None)
    training.steps(1)
    done = training.treat(alert(("normalize_input", 0.0), ("lower_learning_rate", 0.05), **LOWER))
    assert done.action == "lower_learning_rate"


def test_copies_are_made_every_so_many_steps_or_not_at_all():
    with pytest.raises(ValueError, match="keep_every is 0"):
        Training(keep_every=0)
