"""An exception or interrupt at any point of a step leaves nothing behind, and the training goes on as it would have."""

from __future__ import annotations

import contextlib
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode

import relumine
from relumine._torch.global_hooks import is_running
from tests.helpers.interrupted_training import CLEAN, Net, build, leftovers, step


class Users(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class RaiseAt(TorchDispatchMode):
    """Raises at the n-th operator below autograd, of the SDK and of the training alike."""

    def __init__(self, position, error):
        super().__init__()
        self.position, self.error, self.calls = position, error, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        if self.calls == self.position:
            raise self.error("injected")
        return func(*args, **(kwargs or {}))


def interrupted(error, position):
    """Train five steps, the second of which is cut short at an operator."""
    model, optimizer = build()
    monitor = relumine.watch(model, optimizer, every=1)
    step(model, optimizer, 1)
    injection = RaiseAt(position, error)
    with contextlib.suppress(error), injection:
        step(model, optimizer, 2)
    modes = _get_current_function_mode_stack()
    optimizer.zero_grad()
    for seed in (3, 4, 5):
        step(model, optimizer, seed)
    return model, monitor, injection, modes


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_at_any_operator_of_a_step_leaves_nothing_and_the_next_steps_are_sampled(error, memory):
    _, monitor, injection, _ = interrupted(error, 10**6)
    monitor.close()
    count = injection.calls
    assert count > 60
    for position in range(1, count + 1):
        memory.uploads.clear()
        model, monitor, _, modes = interrupted(error, position)
        assert len(modes) <= 1, position
        names = set(monitor.coverage())
        assert _get_current_function_mode_stack() == [], position
        monitor.close()
        assert leftovers() == CLEAN, position
        assert not model._forward_hooks, position
        assert names == {"body.2", "relu"}, position
        assert {4, 5} <= {record.step + 5 - monitor.sdk_stats()["steps"] for record in memory.records("relu")}, position


@pytest.mark.parametrize("where", ["forward", "backward", "step"])
def test_a_training_that_goes_on_after_an_interrupt_has_the_numbers_of_an_unwatched_one(where, memory):
    def train(watched):
        model, optimizer = build()
        monitor = relumine.watch(model, optimizer, every=1) if watched else None
        step(model, optimizer, 1)

        def interrupt(*_):
            raise KeyboardInterrupt

        targets = {
            "forward": model.head.register_forward_pre_hook,
            "backward": model.head.weight.register_hook,
            "step": optimizer.register_step_pre_hook,
        }
        handle = targets[where](interrupt)
        with pytest.raises(KeyboardInterrupt):
            step(model, optimizer, 2)
        handle.remove()
        for seed in range(3, 9):
            step(model, optimizer, seed)
        if monitor is not None:
            monitor.close()
        return [parameter.detach().clone() for parameter in (*model.parameters(), *model.buffers())]

    assert all(torch.equal(a, b) for a, b in zip(train(watched=True), train(watched=False), strict=True))
    assert leftovers() == CLEAN


@pytest.fixture
def stuck(memory):
    """A monitor whose sampled forward was left by a KeyboardInterrupt, with the mode still on torch's stack."""
    model, optimizer = build()
    monitor = relumine.watch(model, optimizer, every=1, strict=True)
    handle = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        model(torch.randn(4, 6))
    handle.remove()
    yield model, optimizer, monitor
    monitor.close()


def test_after_an_interrupt_the_activations_of_others_never_become_layers(stuck):
    _, _, monitor = stuck
    functional.relu(torch.randn(3, 3))
    other = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    other(torch.randn(3, 3))
    assert _get_current_function_mode_stack() == []
    assert set(monitor.coverage()) == {"body.2", "relu"}
    assert monitor.sdk_stats()["errors"] == 0


def test_a_part_of_the_model_called_after_an_interrupt_is_a_forward_of_its_own(stuck, memory):
    model, optimizer, monitor = stuck
    model.body(torch.randn(4, 6)).sum().backward()
    assert _get_current_function_mode_stack() == []
    optimizer.step()
    assert set(monitor.coverage()) == {"body.2", "relu"}


def test_close_removes_a_mode_that_an_interrupt_left_below_those_of_the_user(stuck):
    _, _, monitor = stuck
    with Users() as users:
        monitor.close()
        assert _get_current_function_mode_stack() == [users]
    assert leftovers() == CLEAN


def test_a_mode_of_the_user_around_an_interrupted_forward_ends_with_its_block(memory):
    model, optimizer = build()

    handle = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with relumine.watch(model, optimizer, every=1, strict=True):
        for block in (Users(), torch.device("cpu")):
            with pytest.raises(KeyboardInterrupt), block:
                model(torch.randn(4, 6))
            assert {type(mode).__name__ for mode in _get_current_function_mode_stack()} <= {"ActivationMode"}
        handle.remove()
        with torch.device("cpu"), Users():
            step(model, optimizer, 1)
    assert leftovers() == CLEAN


def test_the_default_device_may_be_set_and_reset_around_and_within_a_watched_forward(memory):
    class SetsDevice(Net):
        def forward(self, x):
            torch.set_default_device("cpu")
            y = super().forward(x)
            torch.set_default_device(None)
            return y

    model = SetsDevice()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True), Users():
        step(model, optimizer, 1)
        torch.set_default_device("cpu")
        step(model, optimizer, 2)
        torch.set_default_device("cpu")
        step(Net(), optimizer, 3)
        torch.set_default_device(None)
    assert leftovers() == CLEAN


def test_close_in_the_middle_of_a_forward_that_then_fails_keeps_the_error_of_the_user(memory):
    model, optimizer = build()
    monitor = relumine.watch(model, optimizer, every=1, strict=True)

    def fail(*_):
        monitor.close()
        raise ZeroDivisionError

    model.head.register_forward_pre_hook(fail)
    others = [nn.modules.module.register_module_forward_hook(lambda *_: None, always_call=True) for _ in range(2)]
    with pytest.raises(ZeroDivisionError):
        model(torch.randn(4, 6))
    for handle in others:
        handle.remove()
    nn.Identity()(torch.zeros(1))
    assert leftovers() == CLEAN


def test_the_monitors_of_two_models_leave_the_stance_of_dynamo_as_it_was(memory):
    import torch._dynamo

    trainings = [build(), build()]
    monitors = [relumine.watch(model, optimizer, every=1, strict=True) for model, optimizer in trainings]
    for model, optimizer in trainings:
        step(model, optimizer, 1)
    for monitor in monitors:
        monitor.close()
    assert leftovers() == CLEAN
    with torch.compiler.set_stance("force_eager"), relumine.watch(*trainings[0], every=1, strict=True):
        step(*trainings[0], 2)
    assert leftovers() == CLEAN


class Interruptible(nn.Module):
    interrupt = False

    @torch.compiler.disable
    def forward(self, x):
        if self.interrupt:
            raise KeyboardInterrupt
        return x


def test_an_interrupt_in_a_compiled_evaluation_leaves_no_hook_and_the_next_step_is_sampled(memory):
    part = Interruptible()
    model = torch.compile(nn.Sequential(nn.Linear(6, 8), part, nn.ReLU()), backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        step(model, optimizer, 1)
        part.interrupt = True
        with pytest.raises(KeyboardInterrupt), torch.no_grad():
            model(torch.randn(4, 6))
        part.interrupt = False
        for seed in range(4):
            step(model, optimizer, seed)
            assert not model._forward_hooks
            assert not model._forward_pre_hooks
        assert monitor.sdk_stats()["sampled_steps"] >= 4
    assert {3, 4, 5} <= {record.step for record in memory.records("2")}
    assert leftovers() == CLEAN


def test_a_call_of_another_thread_is_known_to_run_until_an_exception_ends_it():
    calls, is_started, may_end = [], threading.Event(), threading.Event()

    def forward():
        calls.append(sys._getframe())
        is_started.set()
        may_end.wait(60)
        raise KeyboardInterrupt

    def train():
        with contextlib.suppress(KeyboardInterrupt):
            forward()

    thread = threading.Thread(target=train)
    thread.start()
    assert is_started.wait(60)
    assert is_running(calls[0])
    may_end.set()
    thread.join()
    assert not is_running(calls[0])
    assert is_running(sys._getframe())
