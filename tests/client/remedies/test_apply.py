"""What an alert proposes is done once it was asked for: one remedy at a time, within the budget, and told."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from dying_models import dead_model, perceptron
from proposing import LOWER, alert
from torch import nn
from torch.nn import functional

import relumine
from relumine._applied import LATER, Applied
from relumine.remedies import apply
from relumine.testing import MemoryTransport
from relumine.views import Accepted


def setting(**options):
    model, x, _ = dead_model("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return model, x, optimizer, apply(model, optimizer, **options)


def train(model, x, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        functional.mse_loss(model(x), torch.zeros(len(x), 2)).backward()
        optimizer.step()


def test_the_first_remedy_that_can_be_done_is_done():
    model, x, optimizer, treat = setting()
    train(model, x, optimizer)
    done = treat(alert(("normalize_input", 0.0), ("reset_bias", -0.3), ("replace_relu", 0.01)))
    assert done.action == "reset_bias"
    assert done.units == {"1": (1, 5)}
    assert [(one.action, one.layer, one.step, one.applied) for one in treat.log] == [("reset_bias", "1", 1, done)]
    assert isinstance(model[1], nn.ReLU)


@pytest.mark.parametrize(
    ("proposed", "check"),
    [
        (
            ("lower_learning_rate", 0.03),
            lambda model, optimizer: optimizer.param_groups[0]["lr"] == pytest.approx(0.03),
        ),
        (("replace_relu", 0.2), lambda model, optimizer: model[1].negative_slope == 0.2),
        (("reinitialize", None), lambda model, optimizer: not model[2].weight[:, [1, 5]].any()),
        (("reset_bias", 0.1), lambda model, optimizer: (model[0].bias > -59).all()),
    ],
)
def test_each_action_does_what_it_is_called(proposed, check):
    model, x, optimizer, treat = setting()
    train(model, x, optimizer)
    assert treat(alert(proposed, **LOWER)).action == {"reinitialize": "revive"}.get(proposed[0], proposed[0])
    assert check(model, optimizer)


def test_a_rate_is_lowered_by_the_part_of_the_layers_own_and_schedulers_with_it():
    model = perceptron()
    groups = [{"params": list(model[:2].parameters()), "lr": 0.3}, {"params": list(model[2:].parameters()), "lr": 0.6}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    apply(model, optimizer, schedulers=scheduler)(alert(("lower_learning_rate", 0.05), **LOWER))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])
    assert scheduler.base_lrs == pytest.approx([0.05, 0.1])


def test_remedies_are_apart_and_within_the_budget():
    model, x, optimizer, treat = setting(budget=2, cooldown_steps=3)
    train(model, x, optimizer)
    again = alert(("lower_learning_rate", 0.15), **LOWER)
    found = []
    for _ in range(9):
        found.append(isinstance(treat(again), Applied))
        train(model, x, optimizer)
    assert found == [True, False, False, True, False, False, False, False, False]
    assert treat.budget == 0
    assert treat.log[1].text == "a remedy was applied less than 3 steps ago; then, if it still fires"
    assert treat.log[-1].text == "the budget is spent"
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 / 4)


def test_an_alert_put_off_finds_the_rate_lowered_and_gets_what_is_left_to_do():
    model, x, optimizer, treat = setting(cooldown_steps=2)
    train(model, x, optimizer)
    treat(alert(("lower_learning_rate", 0.03), **LOWER))
    other = alert(("lower_learning_rate", 0.03), ("reinitialize", None), id="r.2.dead", **LOWER)
    assert treat(other) is LATER
    train(model, x, optimizer, steps=2)
    done = treat(other)
    assert (done.action, done.units) == ("revive", {"1": (1, 5)})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)


def test_with_a_lower_rate_those_are_drawn_anew_whom_it_cannot_bring_back():
    model, x, optimizer, treat = setting()
    train(model, x, optimizer)
    done = treat(alert(("lower_learning_rate", 0.03), ("reinitialize", None), **LOWER))
    assert (done.action, done.units) == ("lower_learning_rate", {"1": (1, 5), "3": (0, 3)})  # a rate is that of all
    assert "revived 4 units of 1, 3" in done.text
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)
    assert (model[1](model[0](x)) > 0).any(0).all()


def test_what_did_not_last_is_not_done_again_before_the_others():
    model, x, optimizer, treat = setting(cooldown_steps=0)
    proposed = (("reset_bias", 0.0), ("replace_relu", 0.1))
    train(model, x, optimizer)
    assert treat(alert(*proposed)).action == "reset_bias"
    assert treat(alert(*proposed)).action == "replace_relu"


def test_a_unit_that_fired_a_few_steps_ago_is_not_taken_for_dead():
    model, x, optimizer, treat = setting()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(1.0)
        model[0].weight[0, 0], model[0].bias[0] = 1.0, 0.0
    optimizer.param_groups[0]["lr"] = 0.0
    for sign in (1.0, -1.0, -1.0):
        train(model, x.abs() * sign, optimizer)
    assert treat(alert(("reinitialize", None))) is None


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (alert(("reset_bias", 0.0), severity="info"), "severity info"),
        (alert(("reset_bias", 0.0), state="resolved"), "is over"),
        (alert(), "proposes nothing"),
        (alert(("clip_gradient", 1.0)), "clip_gradient is not done by itself"),
        (alert(("replace_relu", 0.1)), "replace_relu is not done by itself"),
        (alert(("lower_learning_rate", 0.1)), "holds no rate"),
        (alert(("reset_bias", 0.0), layer=None), "speaks of no layer"),
        (alert(("reset_bias", 0.0), layer="none"), "no bias to reset"),
    ],
)
def test_where_nothing_can_be_done_nothing_is_and_the_log_says_why(told, why):
    model, x, optimizer, treat = setting(allow=("lower_learning_rate", "reset_bias"))
    train(model, x, optimizer)
    before = copy.deepcopy(model.state_dict())
    assert treat(told) is None
    assert treat.budget == 3
    assert why in treat.log[0].text
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_action_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="pray"):
        setting(allow=("pray",))


def test_inputs_are_those_of_the_last_training_forward_or_those_given():
    model, x, _, treat = setting()
    assert treat(alert(("reset_bias", 0.0))) is None
    assert "no training forward" in treat.log[0].text
    with torch.no_grad():
        model(x)
    model.eval()(x)
    assert treat(alert(("reset_bias", 0.0))) is None
    model.train()(input=x)
    assert treat(alert(("reset_bias", 0.0))).units == {"1": (1, 5)}
    other, x, _, given = setting(inputs=[x])
    assert given(alert(("reset_bias", 0.0))).units == {"1": (1, 5)}
    assert not other._forward_pre_hooks


def test_a_copy_remembers_nothing_and_after_stop_nothing_is_left():
    model, x, optimizer, treat = setting()
    train(model, x, optimizer)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    for copied in (copy.deepcopy(model), torch.load(saved, weights_only=False)):
        (memory,) = copied._forward_pre_hooks.values()
        assert not memory._last
    treat.stop()
    assert not model._forward_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo's own, on some versions
def test_a_compiled_models_inputs_are_remembered_and_no_graph_is_broken():
    torch._dynamo.reset()
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    model, x, _ = dead_model("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    treat = apply(compiled, optimizer)
    train(compiled, x, optimizer, 3)
    assert len(graphs) == 1
    assert treat(alert(("reinitialize", None))).units == {"1": (1, 5)}
    train(compiled, x, optimizer)
    assert len(graphs) == 1
    torch._dynamo.reset()


class Alerting(MemoryTransport):
    """Answers the first upload with an alert."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def post(self, body):
        answer = super().post(body)
        found = [self.told] if len(self.uploads) == 1 else []
        return Accepted.model_construct(**(dict(answer) | {"alerts": found}))


def test_a_watched_training_tells_the_server_what_was_done_and_does_not_watch_the_doing():
    model, x, optimizer, treat = setting()
    with Alerting(alert(("reinitialize", None), id="run.1.dead")) as transport:
        monitor = relumine.watch(model, optimizer, on_alert=treat, every=1, strict=True)
        train(model, x, optimizer)
        monitor.flush()
        train(model, x, optimizer, 3)
        monitor.close()
    (number,) = [one for upload in transport.uploads for one in upload.numbers]
    assert (number.name, number.value, number.step) == ("remedy/run.1.dead/revive", 2.0, 2)
    records = [record for record in transport.records("1") if record.n_examples]
    assert sum(record.n_examples for record in records) == 4 * len(x)
    assert treat.log[0].applied.units == {"1": (1, 5)}


def test_in_local_mode_a_dying_training_is_treated_and_keeps_its_units():
    """The rate is raised over a hundred steps to where units die; lowered in time, most are kept."""

    def run(*, treated):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 + 7 * min(1, max(0, step - 150) / 100))
        treat = apply(model, optimizer, schedulers=schedule)
        generator = torch.Generator().manual_seed(1)
        with relumine.watch(model, optimizer, mode="local", every=1, on_alert=treat if treated else None) as monitor:
            for step in range(500):
                x = torch.randn(64, 16, generator=generator)
                optimizer.zero_grad()
                functional.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
                optimizer.step()
                schedule.step()
                if step % 10 == 0:
                    monitor.flush()
        x = torch.randn(512, 16, generator=generator)
        return [one.action for one in treat.log if one.applied], sum(
            layer.silent for layer in relumine.check(model, x).layers
        )

    nothing, lost = run(treated=False)
    done, left = run(treated=True)
    assert (nothing, done[:1]) == ([], ["lower_learning_rate"])
    assert left < 0.6 * lost
