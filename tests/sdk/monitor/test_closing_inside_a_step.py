"""Closing a monitor while torch runs the hooks of a step must not raise in the training."""

import gc

import pytest
from torch.optim import SGD
from torch.optim.optimizer import register_optimizer_step_post_hook

import relumine
from tests.helpers.alarming_transport import AlarmingTransport
from tests.helpers.step_hooks import step_hooks

REGISTER = {
    "on the optimizer": lambda optimizer, hook: optimizer.register_step_post_hook(hook),
    "on all optimizers": lambda _, hook: register_optimizer_step_post_hook(hook),
    "on all optimizers, before the SDK": lambda _, hook: register_optimizer_step_post_hook(hook),
}


def closing_hook(monitors, at_step):
    steps = 0

    def hook(*_):
        nonlocal steps
        steps += 1
        if steps == at_step:
            for monitor in monitors:
                monitor.close()

    return hook


@pytest.mark.parametrize("closed", [[0], [1], [0, 1], [1, 0]])
@pytest.mark.parametrize("register", REGISTER)
def test_monitors_may_be_closed_in_a_hook_of_the_step(closed, register, mlp, train, memory):
    models = [mlp(), mlp()]
    optimizers = [SGD(model.parameters(), lr=0.01) for model in models]
    to_close = []
    hook = closing_hook(to_close, at_step=4)
    handles = [REGISTER[register](optimizers[0], hook)] if register.endswith("before the SDK") else []
    monitors = [relumine.watch(*pair, strict=True) for pair in zip(models, optimizers, strict=True)]
    to_close += [monitors[index] for index in closed]
    if not handles:
        handles.append(REGISTER[register](optimizers[0], hook))
    handles.append(optimizers[0].register_step_post_hook(lambda *_: None))
    train(models[0], optimizers[0], steps=8)
    for handle in handles:
        handle.remove()
    for monitor in monitors:
        monitor.close()
    # Hooks that could not be removed inside of the step go when hooks are registered or removed outside of one.
    relumine.watch(mlp(), strict=True).close()
    assert step_hooks(*optimizers) == 0


def test_an_alert_callback_may_close_its_run_while_another_is_watched(mlp, train):
    models = [mlp(), mlp()]
    optimizers = [SGD(model.parameters(), lr=0.01) for model in models]
    alerts = []

    def close(alert):
        alerts.append(alert)
        first.close()

    with AlarmingTransport():
        first = relumine.watch(models[0], optimizers[0], strict=True, on_alert=close)
        with relumine.watch(models[1], optimizers[1], strict=True) as second:
            train(models[0], optimizers[0], steps=5)
            first.flush()
            train(models[0], optimizers[0], steps=5)
            train(models[1], optimizers[1], steps=5)
            assert len(alerts) == 1
            assert second.sdk_stats()["steps"] == 5
    assert step_hooks(*optimizers) == 0


def test_a_run_that_is_collected_during_a_step_of_another_leaves_it_alone(mlp, train, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    gone = [mlp()]
    gone.append(SGD(gone[0].parameters(), lr=0.01))
    relumine.watch(*gone, strict=True)
    steps = 0

    def collect(*_):
        nonlocal steps
        steps += 1
        if steps == 3:
            gone.clear()
            gc.collect()

    with relumine.watch(model, optimizer, strict=True) as monitor:
        optimizer.register_step_post_hook(collect)
        train(model, optimizer, steps=6)
        assert monitor.sdk_stats()["steps"] == 6
    assert step_hooks() == 0
