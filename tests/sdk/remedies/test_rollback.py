"""With checkpoints, the training continues from before its problem after a remedy that brings no dead unit back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from relumine.alert_actions import RETRY_LATER
from relumine.remedies._on_alert.alert_evidence import last_good_step
from relumine.remedies._on_alert.checkpoints import CheckpointHistory
from relumine.remedies._on_alert.handler import apply
from tests.helpers.remedy_alerts import LOWER, alert

RAISED = {"evidence": {"learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 30}}, "opened_step": 34}


class Training:
    """A small training with a remedy handler. ``history`` holds its state after each step."""

    def __init__(self, optimizer=torch.optim.Adam, **options):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = optimizer(self.model.parameters(), lr=0.05)
        self.handler = apply(self.model, self.optimizer, **{"checkpoint_every": 5, "cooldown_steps": 5} | options)
        self.history = [self.state()]

    def state(self):
        moments = [copy.deepcopy(self.optimizer.state.get(parameter, {})) for parameter in self.model.parameters()]
        return copy.deepcopy(self.model.state_dict()), moments

    def run(self, count, lr=None):
        for group in self.optimizer.param_groups:
            group["lr"] = lr or group["lr"]
        for _ in range(count):
            self.optimizer.zero_grad()
            functional.mse_loss(self.model(torch.randn(16, 4)), torch.zeros(16, 2)).backward()
            self.optimizer.step()
            self.history.append(self.state())


def assert_same(state, expected):
    torch.testing.assert_close(state, expected, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_a_lower_learning_rate_restores_exactly_the_state_before_it_was_raised(optimizer):
    training = Training(optimizer)
    training.run(32)
    training.run(3, lr=0.3)
    result = training.handler(alert(("lower_learning_rate", 0.05), ("revive_", None), kind="dead", **RAISED))
    assert "restored weights and moments from 5 steps ago" in result.text
    assert_same(training.state(), training.history[30])  # the newest checkpoint at a safe learning rate
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert {"0.weight", "1.running_mean", "3.bias"} <= {change.target for change in result.changes}
    training.run(2)
    assert not torch.equal(training.model[0].weight, training.history[30][0]["0.weight"])


def test_a_checkpoint_that_is_not_finite_is_not_restored():
    training = Training()
    training.run(12)
    with torch.no_grad():
        training.model[0].weight.fill_(torch.nan)
    training.run(10)
    training.handler(alert(("lower_learning_rate", 0.05), kind="diverged", **LOWER, opened_step=22))
    assert_same(training.state(), training.history[10])
    training.run(1)
    assert training.model[0].weight.isfinite().all()


def test_dead_units_are_revived_if_no_checkpoint_is_from_before_the_problem():
    training = Training()
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.run(30)
    late = {"learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 0}}
    result = training.handler(
        alert(("lower_learning_rate", 0.05), ("revive_", None), layer="2", evidence=late, opened_step=30)
    )
    assert result.units == {"2": tuple(range(8))}
    assert "steps ago" not in result.text


def test_no_checkpoint_is_saved_while_an_alert_waits_for_its_remedy():
    training = Training(checkpoint_every=10, cooldown_steps=20, custom_actions={"normalize_input": lambda *_: True})
    training.run(31)
    training.handler(alert(("lower_learning_rate", 0.2), id="r.1.dying", **RAISED))
    other = alert(("normalize_input", 0.0), layer="2", id="r.2.dead", **RAISED)
    training.handler(other)
    training.run(30)
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    result = training.handler(other)
    assert "steps ago" in result.text
    assert any(parameters["0.weight"].equal(training.model[0].weight) for parameters, _ in training.history[:32])


def test_an_alert_about_steps_that_were_rolled_back_is_treated_only_if_most_of_its_layer_is_inactive():
    training = Training()
    training.run(12)
    concurrent = alert(("lower_learning_rate", 0.01), layer="2", id="r.2.dying", opened_step=12, **LOWER)
    result = training.handler(alert(("lower_learning_rate", 0.05), layer="2", opened_step=12, **LOWER))
    assert "steps ago" in result.text
    assert training.handler(concurrent) is RETRY_LATER
    training.run(6)
    assert training.handler(concurrent) is RETRY_LATER  # received before the restore, and the units are active
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.run(1)
    assert training.handler(concurrent) is RETRY_LATER  # checked once per cooldown
    training.run(5)
    assert training.handler(concurrent).action == "lower_learning_rate"


def test_an_alert_that_fires_again_counts_as_a_new_one():
    training = Training()
    training.run(12)
    first = alert(("lower_learning_rate", 0.05), layer="2", opened_step=12, **LOWER)
    assert "steps ago" in training.handler(first).text
    training.run(12)
    regressed = alert(("reset_bias_", 0.0), ("lower_learning_rate", 0.01), layer="2", state="regressed", **LOWER)
    assert training.handler(regressed).action == "lower_learning_rate"


def test_a_restored_checkpoint_never_undoes_a_repair():
    training = Training()
    with torch.no_grad():
        training.model[1].bias.fill_(-60.0)
    training.run(3)
    assert training.handler(alert(("reset_bias_", 0.0), layer="2", kind="born_dead")).action == "reset_bias_"
    training.run(7)
    far = {"evidence": {"learning_rate": {"now": 0.05, "before": 0.05, "changed_at_step": None}}}
    early = alert(("lower_learning_rate", 0.01), id="r.3.dying", **far, opened_step=9)
    assert training.handler(early).text == "learning rate 0.05 → 0.01"  # all earlier checkpoints are of the problem
    training.run(13)
    result = training.handler(alert(("lower_learning_rate", 0.001), id="r.4.dying", **far, opened_step=22))
    assert "steps ago" in result.text
    assert training.model[1].bias.min() > -59


def test_a_few_checkpoints_reach_back_to_the_first_step():
    model = nn.Linear(2, 2)
    checkpoints = CheckpointHistory(model, torch.optim.SGD(model.parameters(), lr=0.1), 10)
    for step in range(1, 2001):
        checkpoints.save_if_due(step)
    steps = [checkpoints.restore(last_step)[0] for last_step in (1990, 1900, 1500, 5)]
    assert 1980 <= steps[0] <= 1990
    assert 1700 <= steps[1] <= 1900
    assert 700 <= steps[2] <= 1500
    assert steps[3] == 0


def test_the_last_good_step_lies_just_before_the_change_of_the_input_or_of_the_learning_rate():
    input_shift = alert(cause="input_shift", opened_step=120, evidence={"input": {"changed_at_step": 100}})
    assert last_good_step(input_shift, 121, 50) == 91
    assert last_good_step(alert(opened_step=120), 121, 50) == 21
    late = alert(opened_step=120, evidence={"learning_rate": {"changed_at_step": 20}})
    assert last_good_step(late, 90, 50) == -1  # it changed before the first counted step


def test_a_later_parameter_stays_and_the_state_of_one_that_had_none_is_removed():
    training = Training()
    training.model[2] = nn.PReLU(init=0.7)
    training.optimizer.add_param_group({"params": training.model[2].parameters()})
    training.run(3)
    slope = training.model[2].weight.clone()
    training.handler(alert(("lower_learning_rate", 0.05), **LOWER, opened_step=3))
    assert_same(training.model[2].weight, slope)
    assert not any(training.optimizer.state.values())
    assert_same(training.state()[0]["0.weight"], training.history[0][0]["0.weight"])


def test_a_custom_action_is_called_with_the_alert_and_its_result_is_logged():
    calls = []
    training = Training(
        custom_actions={"normalize_input": lambda alert, remedy: calls.append((alert.id, remedy.value)) or "x100"}
    )
    training.run(12)
    result = training.handler(alert(("normalize_input", 0.0), ("lower_learning_rate", 0.05), **LOWER, opened_step=12))
    assert calls == [("r.1.dying", 0.0)]
    assert result.action == "normalize_input"
    assert result.text == "normalize_input by a custom action: x100; restored weights and moments from 12 steps ago"
    assert training.optimizer.param_groups[0]["lr"] == 0.05


def test_after_a_custom_repair_of_the_loss_a_checkpoint_from_before_the_problem_is_restored():
    training = Training(custom_actions={"check_loss": lambda *_: True})
    training.run(20)
    result = training.handler(alert(("check_loss", None), cause="negative_bias", opened_step=20))
    assert result.text == "check_loss by a custom action; restored weights and moments from 10 steps ago"
    assert_same(training.state(), training.history[10])


def test_a_custom_action_that_returns_false_gives_way_to_the_next_remedy():
    training = Training(custom_actions={"normalize_input": lambda *_: False}, checkpoint_every=None)
    training.run(1)
    result = training.handler(alert(("normalize_input", 0.0), ("lower_learning_rate", 0.05), **LOWER))
    assert result.action == "lower_learning_rate"


def test_an_interval_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="checkpoint_every is 0"):
        Training(checkpoint_every=0)
