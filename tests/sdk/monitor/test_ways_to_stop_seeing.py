"""Many ways in which a training script makes the SDK stop seeing, each at another step of a run in which a layer dies.

Whatever happens, the run ends with the death detected, or reported as not watched, and never with reassuring words.
"""

from __future__ import annotations

import copy
import threading
import types
import zlib

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine._export.transport import TransportError
from relumine._monitor import training_account
from tests.helpers.step_hooks import clear_step_hooks

REASSURING = "no dead layers"
FAR = -60.0


class Scene:
    """A training of a small net, of which each part can be replaced."""

    def __init__(self, **options):
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02)
        self.monitor = relumine.watch(self.model, self.optimizer, name="demo", **{"mode": "local", **options})
        self.trained = self.model
        self.forward = self.model
        self.step = self._step_optimizer
        self.run = lambda train: train()

    def train(self, steps):
        for _ in range(steps):
            self.run(self._train_once)

    def _train_once(self):
        x = torch.randn(32, 6)
        y = torch.randint(0, 2, (32,))
        self.trained.zero_grad()
        functional.cross_entropy(self.forward(x), y).backward()
        self.step()

    def _step_optimizer(self):
        self.optimizer.step()  # which a test may replace

    def kill_a_layer(self):
        with torch.no_grad():
            self.trained[2].bias.fill_(FAR)


def leave_in_eval_mode(scene):
    scene.model.eval()


def leave_one_activation_in_eval_mode(scene):
    scene.model[3].eval()


def replace_the_optimizer(scene):
    scene.optimizer = torch.optim.SGD(scene.model.parameters(), lr=0.02)


def replace_the_optimizer_of_each_step(scene):
    scene.step = lambda: torch.optim.SGD(scene.model.parameters(), lr=0.02).step()


def compile_the_step(scene):
    scene.step = torch.compile(scene.optimizer.step, backend="eager")


def compile_the_model(scene):
    scene.forward = torch.compile(scene.model, backend="eager")


def go_on_with_a_copy(scene):
    scene.trained = scene.forward = copy.deepcopy(scene.model)
    scene.optimizer = torch.optim.SGD(scene.trained.parameters(), lr=0.02)


def call_functions_only(scene):
    def forward(x):
        first, second, third = scene.model[0], scene.model[2], scene.model[4]
        hidden = functional.relu(functional.linear(x, first.weight, first.bias))
        hidden = functional.relu(functional.linear(hidden, second.weight, second.bias))
        return functional.linear(hidden, third.weight, third.bias)

    scene.forward = forward


def call_a_traced_model(scene):
    scene.forward = torch.jit.trace(scene.model, torch.randn(32, 6))


def script_the_activations(scene):
    scene.model[1] = torch.jit.script(scene.model[1])
    scene.model[3] = torch.jit.script(scene.model[3])


def write_the_activation_by_hand(scene):
    class Mine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (ctx.saved_tensors[0] > 0)

    scene.model[1].forward = Mine.apply
    scene.model[3].forward = Mine.apply


def clear_torchs_hooks(scene):
    def forward(x):
        torch.nn.modules.module._global_forward_hooks.clear()
        torch.nn.modules.module._global_forward_pre_hooks.clear()
        return scene.model(x)

    scene.forward = forward


def clear_the_optimizers_hooks(scene):
    clear_step_hooks(scene.optimizer)


def step_around_the_hooks(scene):
    scene.step = types.MethodType(type(scene.optimizer).step.__wrapped__, scene.optimizer)


def update_by_hand(scene):
    def step():
        with torch.no_grad():
            for parameter in scene.model.parameters():
                parameter.sub_(0.02 * parameter.grad)

    scene.step = step


def assign_new_data(scene):
    def step():
        for parameter in scene.model.parameters():
            parameter.data = parameter.data - 0.02 * parameter.grad

    scene.step = step


def step_in_another_thread(scene):
    def step():
        thread = threading.Thread(target=scene.optimizer.step)
        thread.start()
        thread.join()

    scene.step = step


def freeze_every_layer(scene):
    head = nn.Linear(2, 2)
    scene.optimizer.add_param_group({"params": head.parameters()})
    scene.forward = lambda x: head(scene.model(x).detach())


def break_the_sdk(scene):
    def broken(*_, **__):
        raise RuntimeError("inside")

    scene.monitor._session.hooks._trace.before_call = broken


def refuse_every_upload(scene):
    def refuse(_body):
        raise TransportError("422", retryable=False)

    scene.monitor._session.sender.delivery._transport.post = refuse


def lose_the_server(scene):
    def fail(_body):
        raise TransportError("away", retryable=True)

    scene.monitor._session.sender.delivery._transport.post = fail


def answer_without_analyzing(scene):
    transport = scene.monitor._session.sender.delivery._transport
    post = transport.post
    transport.post = lambda body: post(body).model_copy(update={"analyzed": False, "alerts": []})


WAYS = (
    leave_in_eval_mode, leave_one_activation_in_eval_mode, replace_the_optimizer, replace_the_optimizer_of_each_step,
    compile_the_step, compile_the_model, go_on_with_a_copy, call_functions_only, call_a_traced_model,
    script_the_activations, write_the_activation_by_hand, clear_torchs_hooks, clear_the_optimizers_hooks,
    step_around_the_hooks, update_by_hand, assign_new_data, step_in_another_thread, freeze_every_layer, break_the_sdk,
    refuse_every_upload, lose_the_server, answer_without_analyzing,
)  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """The clock of the account: a second per 40 steps."""
    fake = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(training_account, "time", types.SimpleNamespace(monotonic=lambda: fake.now))
    return fake


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of torch.jit
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_death_is_detected_or_the_run_reported_as_not_watched(way, clock, capsys):
    torch._dynamo.reset()
    scene = Scene()
    scene.train(60 + zlib.crc32(way.__name__.encode()) % 80)
    assert scene.monitor.flush()
    way(scene)
    scene.train(20)
    scene.kill_a_layer()
    for _ in range(10):
        scene.train(40)
        clock.now += 4
        scene.monitor._session.on_tick()
    scene.monitor.close()
    health = scene.monitor.health()
    found = {alert.kind for alert in scene.monitor.alerts() if alert.severity != "info"}
    assert health.status != "healthy", found
    assert health.status in {"unwatched", "unknown"} or found & {"dying", "dead", "constant_output", "no_data"}
    assert REASSURING not in capsys.readouterr().err


def test_a_run_that_was_not_sampled_to_its_end_is_not_called_healthy(capsys):
    scene = Scene(every=5_000)
    scene.train(400)
    scene.monitor.close()
    assert scene.monitor.health().status == "unknown"
    output = capsys.readouterr().err
    assert "the last sampled step was step 1 of 400" in output
    assert REASSURING not in output


def test_an_offline_run_is_not_analyzed_and_says_so(capsys):
    scene = Scene(mode="offline")
    scene.train(100)
    scene.monitor.close()
    assert scene.monitor.health().status == "unknown"
    output = capsys.readouterr().err
    assert "not analyzed yet" in output
    assert REASSURING not in output
