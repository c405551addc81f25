"""``apply`` applies what alerts propose: one remedy at a time, within a budget, and with a log."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine.alert_actions import RETRY_LATER, RemedyResult
from relumine.remedies._on_alert.handler import apply
from relumine.schemas.upload import UploadResponse
from relumine.testing import InMemoryTransport
from tests.helpers.dying_models import dead_model, perceptron
from tests.helpers.remedy_alerts import LOWER, alert
from tests.helpers.step_hooks import step_hooks


def new_training(**options):
    model, x, _ = dead_model("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return model, x, optimizer, apply(model, optimizer, **options)


def train(model, x, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        functional.mse_loss(model(x), torch.zeros(len(x), 2)).backward()
        optimizer.step()


def test_the_first_applicable_remedy_is_applied():
    model, x, optimizer, handler = new_training()
    train(model, x, optimizer)
    result = handler(alert(("normalize_input", 0.0), ("reset_bias_", -0.3), ("replace_relu_", 0.01)))
    assert result.action == "reset_bias_"
    assert result.units == {"1": (1, 5)}
    assert [(entry.action, entry.layer, entry.step, entry.result) for entry in handler.log] == [
        ("reset_bias_", "1", 1, result)
    ]
    assert isinstance(model[1], nn.ReLU)


def test_the_log_line_of_a_remedy_names_the_layer_as_alerts_do(capsys):
    model, x, optimizer, handler = new_training()
    train(model, x, optimizer)
    handler(alert(("lower_learning_rate", 0.05), layer_label="layer 1 (ReLU after Linear 0)", **LOWER))
    line = capsys.readouterr().err.rstrip()
    assert line.startswith("relumine: remedy for layer 1 (ReLU after Linear 0): learning rate 0.3 → 0.05")
    assert line.endswith("(2 left in the budget)")


@pytest.mark.parametrize(
    ("proposed", "check"),
    [
        (
            ("lower_learning_rate", 0.03),
            lambda model, optimizer: optimizer.param_groups[0]["lr"] == pytest.approx(0.03),
        ),
        (("replace_relu_", 0.2), lambda model, optimizer: model[1].negative_slope == 0.2),
        (("revive_", None), lambda model, optimizer: not model[2].weight[:, [1, 5]].any()),
        (("reset_bias_", 0.1), lambda model, optimizer: (model[0].bias > -59).all()),
    ],
)
def test_each_action_does_what_its_name_says(proposed, check):
    model, x, optimizer, handler = new_training()
    train(model, x, optimizer)
    assert handler(alert(proposed, **LOWER)).action == proposed[0]
    assert check(model, optimizer)


def test_all_learning_rates_and_schedulers_are_lowered_by_the_factor_of_the_layers_group():
    model = perceptron()
    groups = [{"params": list(model[:2].parameters()), "lr": 0.3}, {"params": list(model[2:].parameters()), "lr": 0.6}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    apply(model, optimizer, schedulers=scheduler)(alert(("lower_learning_rate", 0.05), **LOWER))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])
    assert scheduler.base_lrs == pytest.approx([0.05, 0.1])


def test_remedies_keep_the_cooldown_and_the_budget():
    model, x, optimizer, handler = new_training(budget=2, cooldown_steps=3)
    train(model, x, optimizer)
    repeated = alert(("lower_learning_rate", 0.15), **LOWER)
    is_applied = []
    for _ in range(9):
        is_applied.append(isinstance(handler(repeated), RemedyResult))
        train(model, x, optimizer)
    assert is_applied == [True, False, False, True, False, False, False, False, False]
    assert handler.budget == 0
    assert handler.log[1].text == "a remedy was applied less than 3 steps ago; retried if the alert still fires"
    assert handler.log[-1].text == "the budget is spent"
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 / 4)


def test_a_postponed_alert_whose_learning_rate_was_lowered_meanwhile_gets_its_next_remedy():
    model, x, optimizer, handler = new_training(cooldown_steps=2)
    train(model, x, optimizer)
    handler(alert(("lower_learning_rate", 0.03), **LOWER))
    other = alert(("lower_learning_rate", 0.03), ("revive_", None), id="r.2.dead", **LOWER)
    assert handler(other) is RETRY_LATER
    train(model, x, optimizer, steps=2)
    result = handler(other)
    assert (result.action, result.units) == ("revive_", {"1": (1, 5)})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)


def test_a_lower_learning_rate_also_revives_dead_units():
    model, x, optimizer, handler = new_training()
    train(model, x, optimizer)
    result = handler(alert(("lower_learning_rate", 0.03), ("revive_", None), **LOWER))
    assert (result.action, result.units) == (
        "lower_learning_rate",
        {"1": (1, 5), "3": (0, 3)},
    )  # the learning rate concerns all layers
    assert "revived 4 units of 1, 3" in result.text
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)
    assert (model[1](model[0](x)) > 0).any(0).all()


def test_a_remedy_that_did_not_last_is_tried_again_after_the_others():
    model, x, optimizer, handler = new_training(cooldown_steps=0)
    proposed = (("reset_bias_", 0.0), ("replace_relu_", 0.1))
    train(model, x, optimizer)
    assert handler(alert(*proposed)).action == "reset_bias_"
    assert handler(alert(*proposed)).action == "replace_relu_"


def test_a_unit_that_was_active_a_few_steps_ago_does_not_count_as_dead():
    model, x, optimizer, handler = new_training()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(1.0)
        model[0].weight[0, 0], model[0].bias[0] = 1.0, 0.0
    optimizer.param_groups[0]["lr"] = 0.0
    for sign in (1.0, -1.0, -1.0):
        train(model, x.abs() * sign, optimizer)
    assert handler(alert(("revive_", None))) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (alert(("reset_bias_", 0.0), severity="info"), "severity info"),
        (alert(("reset_bias_", 0.0), state="resolved"), "is resolved"),
        (alert(), "proposes no remedy"),
        (alert(("clip_gradient", 1.0)), "clip_gradient is not in `allow`"),
        (alert(("replace_relu_", 0.1)), "replace_relu_ is not in `allow`"),
        (alert(("lower_learning_rate", 0.1)), "has no learning rate"),
        (alert(("reset_bias_", 0.0), layer=None), "is about no layer"),
        (alert(("reset_bias_", 0.0), layer="none"), "no bias to reset"),
    ],
)
def test_an_alert_without_an_applicable_remedy_changes_nothing_and_the_log_says_why(given, reason):
    model, x, optimizer, handler = new_training(allow=("lower_learning_rate", "reset_bias_"))
    train(model, x, optimizer)
    initial_state = copy.deepcopy(model.state_dict())
    assert handler(given) is None
    assert handler.budget == 3
    assert reason in handler.log[0].text
    assert all(torch.equal(value, initial_state[key]) for key, value in model.state_dict().items())


def test_an_unknown_action_is_refused():
    with pytest.raises(ValueError, match="pray"):
        new_training(allow=("pray",))


def test_inputs_are_those_of_the_last_training_forwards_or_those_given():
    model, x, _, handler = new_training()
    assert handler(alert(("reset_bias_", 0.0))) is None
    assert "no training forward" in handler.log[0].text
    with torch.no_grad():
        model(x)
    model.eval()(x)
    assert handler(alert(("reset_bias_", 0.0))) is None
    model.train()(input=x)
    assert handler(alert(("reset_bias_", 0.0))).units == {"1": (1, 5)}
    other, x, _, handler = new_training(inputs=[x])
    assert handler(alert(("reset_bias_", 0.0))).units == {"1": (1, 5)}
    assert not other._forward_pre_hooks


def test_a_copied_model_carries_no_inputs_and_stop_removes_all_hooks():
    model, x, optimizer, handler = new_training()
    train(model, x, optimizer)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    for copied in (copy.deepcopy(model), torch.load(saved, weights_only=False)):
        (recent_inputs,) = copied._forward_pre_hooks.values()
        assert not recent_inputs._last
    handler.stop()
    assert not model._forward_pre_hooks
    assert step_hooks(optimizer) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo's own, on some versions
def test_inputs_of_a_compiled_model_are_recorded_without_a_graph_break():
    torch._dynamo.reset()
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    model, x, _ = dead_model("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    handler = apply(compiled, optimizer)
    train(compiled, x, optimizer, 3)
    assert len(graphs) == 1
    assert handler(alert(("revive_", None))).units == {"1": (1, 5)}
    train(compiled, x, optimizer)
    assert len(graphs) == 1
    torch._dynamo.reset()


class AlertingTransport(InMemoryTransport):
    """Responds to the first upload with an alert."""

    def __init__(self, alert):
        super().__init__()
        self.alert = alert

    def post(self, body):
        response = super().post(body)
        alerts = [self.alert] if len(self.uploads) == 1 else []
        return UploadResponse.model_construct(**(dict(response) | {"alerts": alerts}))


def test_a_watched_training_reports_the_remedy_and_does_not_record_its_forwards():
    model, x, optimizer, handler = new_training()
    with AlertingTransport(alert(("revive_", None), id="run.1.dead")) as transport:
        monitor = relumine.watch(model, optimizer, on_alert=handler, every=1, strict=True)
        train(model, x, optimizer)
        monitor.flush()
        train(model, x, optimizer, 3)
        monitor.close()
    (number,) = [number for upload in transport.uploads for number in upload.metrics]
    assert (number.name, number.value, number.step) == ("remedy/run.1.dead/revive_", 2.0, 2)
    records = [record for record in transport.records("1") if record.n_examples]
    assert sum(record.n_examples for record in records) == 4 * len(x)
    assert handler.log[0].result.units == {"1": (1, 5)}


def test_in_local_mode_a_dying_training_keeps_most_of_its_units():
    """The learning rate rises over a hundred steps until units die; it is lowered early enough to keep most of them."""

    def run(*, handle_alerts):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 + 7 * min(1, max(0, step - 150) / 100))
        handler = apply(model, optimizer, schedulers=schedule)
        generator = torch.Generator().manual_seed(1)
        with relumine.watch(
            model, optimizer, mode="local", every=1, on_alert=handler if handle_alerts else None
        ) as monitor:
            for step in range(500):
                x = torch.randn(64, 16, generator=generator)
                optimizer.zero_grad()
                functional.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
                optimizer.step()
                schedule.step()
                if step % 10 == 0:
                    monitor.flush()
        x = torch.randn(512, 16, generator=generator)
        actions = [entry.action for entry in handler.log if entry.result]
        return actions, sum(layer.inactive for layer in relumine.check(model, x).layers)

    no_actions, lost_without = run(handle_alerts=False)
    actions, lost_with = run(handle_alerts=True)
    assert (no_actions, actions[:1]) == ([], ["lower_learning_rate"])
    assert lost_with < 0.6 * lost_without
