"""A training that is no longer watched is reported as such, at once and with the reason; silence is never health."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine._monitor import training_account
from tests.helpers.watched_scene import Scene


@pytest.fixture
def scene(mlp, memory):
    opened = []

    def start(model=None, **options):
        opened.append(Scene(model or mlp(), memory, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.monitor.close()


@pytest.fixture
def clock(monkeypatch):
    """The clock of the account, set by hand."""
    fake = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(training_account, "time", types.SimpleNamespace(monotonic=lambda: fake.now))
    return fake


def leave_in_eval_mode(scene):
    scene.model.eval()


def freeze_every_layer(scene):
    head = nn.Linear(2, 2)
    scene.optimizer.add_param_group({"params": head.parameters()})
    scene.forward = lambda x: head(scene.model(x).detach())


def call_without_gradients(scene):
    def forward(x):
        with torch.no_grad():
            scene.model(x)
        return sum(parameter.sum() for parameter in scene.model.parameters()) * torch.ones(32, 2)

    scene.forward = forward


def call_the_functions_of_a_copy(scene):
    linears = [module for module in scene.model if isinstance(module, nn.Linear)]

    def forward(x):
        for linear in linears[:-1]:
            x = functional.relu(functional.linear(x, linear.weight, linear.bias))
        return functional.linear(x, linears[-1].weight, linears[-1].bias)

    scene.forward = forward


def remove_all_hooks(scene):
    def forward(x):
        torch.nn.modules.module._global_forward_hooks.clear()
        torch.nn.modules.module._global_forward_pre_hooks.clear()
        return scene.model(x)

    scene.forward = forward


def update_by_hand(scene):
    def step():
        with torch.no_grad():
            for parameter in scene.model.parameters():
                parameter.sub_(0.05 * parameter.grad)

    scene.optimizer = type("ByHand", (), {"step": staticmethod(step), "zero_grad": scene.model.zero_grad})


def never_step(scene):
    scene.optimizer = type("Never", (), {"step": staticmethod(lambda: None), "zero_grad": scene.model.zero_grad})


def break_the_sdk(scene):
    def broken(*_, **__):
        raise RuntimeError("inside")

    scene.monitor._session.hooks._trace.before_call = broken


WAYS = {
    leave_in_eval_mode: "eval_mode",
    freeze_every_layer: "parameters_unchanged",
    call_without_gradients: "no_forward",
    call_the_functions_of_a_copy: "no_forward",
    remove_all_hooks: "no_forward",
    update_by_hand: "steps_not_seen",
    never_step: "steps_not_seen",
    break_the_sdk: "disabled",
}


@pytest.mark.parametrize("steps", [60, 62])  # the next step is a sampled one, or is not
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_training_that_is_no_longer_seen_is_reported(way, steps, scene, clock, capsys):
    training = scene()
    training.train(steps)
    training.monitor.flush()
    assert training.monitor.health().status == "healthy"
    way(training)
    for _ in range(14):  # seconds, in which the sender thread ticks once each
        clock.now += 1
        training.monitor._session.on_tick()
        training.train(80)
    training.monitor.flush()
    training.monitor._session.on_tick()
    health = training.monitor.health()
    assert health.status == "unwatched", health
    training.monitor.close()
    assert training.monitor._session.account.watching.reason == WAYS[way]
    assert WAYS[way] in training.reasons_sent()
    output = capsys.readouterr().err
    assert "no dead layers" not in output
    assert not torch.nn.modules.module._has_any_global_hook()
    assert output.count("not watched since step") >= 2  # the moment it is certain, and at the end


def test_a_training_that_is_seen_again_is_watched_again(scene, capsys):
    training = scene()
    training.train(60)
    training.model.eval()
    training.train(100)
    assert training.monitor.health().status == "unwatched"
    training.model.train()
    training.train(100)
    training.monitor.flush()
    assert training.monitor.health().status == "healthy"
    training.monitor.close()
    assert "being watched again" in capsys.readouterr().err
    assert training.reasons_sent()[-1] is None


class Never(nn.Module):
    """A model without any activation that could be seen."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.second, self.activation = nn.Linear(6, 8), nn.Linear(8, 2), activation

    def forward(self, x):
        return self.second(self.activation(self.first(x)))


@pytest.mark.parametrize(
    ("activation", "reason"), [(nn.Identity(), "no_activation"), (nn.GELU(), "nothing_can_die")], ids=str
)
def test_a_model_in_which_nothing_was_ever_seen_is_reported(activation, reason, scene, capsys):
    training = scene(Never(activation))
    training.train(40)
    training.monitor.flush()
    assert training.monitor.health().status == "unwatched"
    training.monitor.close()
    assert training.reasons_sent()[-1] == reason
    output = capsys.readouterr().err
    assert "never watched" in output
    assert "no dead layers" not in output


def test_a_model_in_which_nothing_is_seen_has_a_start_line_after_its_first_step(scene, capsys):
    training = scene(Never(nn.Identity()))
    training.train(1)
    assert capsys.readouterr().err.count("no activation was observed in the first step of default/demo") == 1
    training.train(2)
    training.model.activation = nn.ReLU()
    training.train(30)
    assert capsys.readouterr().err.count("1/1 ReLUs") == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch deprecates TorchScript
def test_a_model_whose_only_activation_cannot_be_observed_is_named_in_the_start_line(scene, capsys):
    training = scene(Never(torch.jit.script(nn.ReLU())))
    training.train(1)
    assert "no activation of default/demo can be observed: activation (" in capsys.readouterr().err


def test_a_frozen_backbone_and_a_trained_head_are_being_watched(scene):
    """Layers that are frozen on purpose do not train; the rest of the model does."""
    training = scene()
    for parameter in training.model[0].parameters():
        parameter.requires_grad = False
    training.train(200)
    training.monitor.flush()
    training.monitor._session.on_tick()
    assert training.monitor.health().status == "healthy"


def test_accumulated_gradients_are_no_missed_steps(scene):
    training = scene()
    step = training.optimizer.step
    for _ in range(6):
        training.optimizer.step = lambda: None
        training.train(80)
        training.optimizer.step = step
        training.train(1)
    training.monitor.flush()
    assert training.monitor.health().status == "healthy"


def test_an_optimizer_that_evaluates_many_times_per_step_misses_none(mlp, memory):
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=40)
    x, y = torch.randn(32, 6), torch.randint(0, 2, (32,))

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y) + 1e-2 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    with relumine.watch(model, optimizer, every=1) as monitor:
        for _ in range(12):
            optimizer.step(closure)
            monitor._session.on_tick()
        monitor.flush()
        assert monitor.health().status == "healthy"
    assert {upload.watching.reason for upload in memory.uploads} == {None}


def test_episodes_that_grow_are_no_missed_steps(scene):
    """As in reinforcement learning: as many forwards per step as the episode had actions."""
    training = scene()
    step = training.optimizer.step
    for length in (10, 20, 60, 200, 200):
        training.optimizer.step = lambda: None
        training.train(length)
        training.optimizer.step = step
        training.train(1)
    training.monitor.flush()
    assert set(training.reasons_sent()) == {None}


def test_long_evaluations_between_steps_are_no_reason(scene):
    training = scene()
    for _ in range(5):
        training.train(20)
        training.model.eval()
        with torch.no_grad():
            for _ in range(300):
                training.model(torch.randn(32, 6))
        training.model.train()
    training.monitor.flush()
    assert training.monitor.health().status == "healthy"


def test_another_model_may_train_alone_for_long(scene, mlp):
    """As in a GAN with phases: neither forwards nor updates of the watched model."""
    training = scene()
    other = mlp()
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.05)
    for _ in range(3):
        training.train(20)
        for _ in range(400):
            other_optimizer.zero_grad()
            other(torch.randn(8, 6)).sum().backward()
            other_optimizer.step()
        training.monitor._session.on_tick()
    training.train(20)
    training.monitor.flush()
    assert training.monitor.health().status == "healthy"
