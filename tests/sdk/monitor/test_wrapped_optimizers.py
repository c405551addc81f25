"""Steps of optimizers that other libraries wrap: each step of the run counts once, however it is made."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import SGD

import relumine
from relumine.errors import SettingsError
from tests.helpers import optimizer_wrappers as wrappers
from tests.helpers.lazy_import import LazyModule
from tests.helpers.step_hooks import step_hooks

accelerate = LazyModule("accelerate")
lightning_optimizers = LazyModule("lightning.pytorch.core.optimizer")
pytestmark = pytest.mark.xdist_group("frameworks")  # one worker imports them

STEPS = 12


def lightning_optimizer(optimizer):
    """The wrapper that ``self.optimizers()`` returns in manual optimization, with a strategy that steps."""
    wrapper = lightning_optimizers.LightningOptimizer(optimizer)
    wrapper._strategy = SimpleNamespace(optimizer_step=lambda inner, closure: inner.step(closure))
    return wrapper


WRAPPED = {
    "LARC": lambda p: wrappers.Larc(SGD(p, lr=0.01)),
    "Noam": lambda p: wrappers.Noam(SGD(p, lr=0.01)),
    "Opacus": lambda p: wrappers.PrivateOptimizer(SGD(p, lr=0.01)),
    "Lookahead": lambda p: wrappers.Lookahead(SGD(p, lr=0.01)),
    "extragradient": lambda p: wrappers.ExtraGradient(SGD(p, lr=0.01)),
    "slots": lambda p: wrappers.HiddenInner(SGD(p, lr=0.01)),
    "forwarding": lambda p: wrappers.Forwarding(SGD(p, lr=0.01)),
    "two inside": lambda p: wrappers.Composite(p, lr=0.01),
    "subclass": lambda p: wrappers.DoubleHooked(p, lr=0.01),
    "Accelerate": lambda p: accelerate.Accelerator(cpu=True).prepare(SGD(p, lr=0.01)),
    "Lightning": lambda p: lightning_optimizer(SGD(p, lr=0.01)),
    "a wrapper of a wrapper": lambda p: wrappers.Noam(wrappers.Larc(wrappers.PrivateOptimizer(SGD(p, lr=0.01)))),
    "Lookahead of Lookahead": lambda p: wrappers.Lookahead(wrappers.Lookahead(SGD(p, lr=0.01))),
}


def train(model, optimizer, steps=STEPS, step=None):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        (step or optimizer.step)()


@pytest.mark.parametrize("name", WRAPPED)
def test_each_step_of_a_wrapped_optimizer_counts_once(name, mlp, memory):
    model = mlp()
    SGD(model.parameters(), lr=0.01)  # torch hooks the step of a class at its first object
    optimizer = WRAPPED[name](model.parameters())
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        train(model, optimizer)
        assert monitor.sdk_stats()["steps"] == STEPS
    assert [record.step for record in memory.records("1")] == list(range(1, STEPS + 1))
    assert memory.records("1")[0].learning_rate is not None


def test_steps_of_sam_count_once_in_both_of_its_forms(mlp, memory):
    model = mlp()
    optimizer = wrappers.Sam(model.parameters(), lr=0.01)

    def loss():
        result = model(torch.randn(8, 6)).square().mean()
        result.backward()
        return result

    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(STEPS):
            loss()
            optimizer.first_step(zero_grad=True)
            loss()
            optimizer.second_step(zero_grad=True)
        for _ in range(STEPS):
            loss()
            optimizer.step(loss)
        assert monitor.sdk_stats()["steps"] == 2 * STEPS
    assert {record.sampled_steps for record in memory.records("1")} == {1}


def test_an_exception_inside_a_step_does_not_upset_the_count(mlp, memory):
    model = mlp()
    optimizer = wrappers.Sam(model.parameters(), lr=0.01)

    def loss():
        result = model(torch.randn(8, 6)).square().mean()
        result.backward()
        return result

    def interrupted():
        raise KeyboardInterrupt

    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(STEPS):
            loss()
            with pytest.raises(KeyboardInterrupt):
                optimizer.step(interrupted)
            loss()
            optimizer.second_step()
        assert monitor.sdk_stats()["steps"] == STEPS


def test_calls_that_gather_gradients_only_are_no_steps(mlp, memory):
    model = mlp()
    optimizer = wrappers.PrivateOptimizer(SGD(model.parameters(), lr=0.01), gather=4)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        train(model, optimizer, steps=40)
        assert monitor.sdk_stats()["steps"] == 10


def test_steps_that_a_gradient_scaler_skips_do_not_count(mlp, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu")
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for turn in range(10):
            optimizer.zero_grad()
            scaler.scale(model(torch.randn(8, 6)).square().mean()).backward()
            if turn % 2:
                next(model.parameters()).grad.fill_(float("inf"))
            scaler.step(optimizer)
            scaler.update()
        assert monitor.sdk_stats()["steps"] == 5


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_optimizer_of_zero_counts_once(mlp, memory, tmp_path):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = mlp()
        optimizer = ZeroRedundancyOptimizer(model.parameters(), SGD, lr=0.01)
        with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
            train(model, optimizer)
            assert monitor.sdk_stats()["steps"] == STEPS
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("form", ["dict with a step", "dict", "list of lists", "estimator", "bound step", "scheduler"])
def test_optimizers_are_found_in_whatever_holds_them(form, mlp, memory):
    model = mlp()
    net = wrappers.Net(model)
    optimizer = net.optimizer_
    forms = {
        "dict with a step": wrappers.OptimizerDict(all=optimizer),
        "dict": {"all": wrappers.Noam(optimizer)},
        "list of lists": [[optimizer], [wrappers.Larc(optimizer)]],
        "estimator": net,
        "bound step": functools.partial(optimizer.step, None),
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    }
    with relumine.watch(model, forms[form], every=1, strict=True) as monitor:
        train(model, optimizer)
        assert monitor.sdk_stats()["steps"] == STEPS


def test_an_optimizer_per_parameter_makes_one_step_per_backward(mlp, memory):
    model = mlp()
    optimizers = {parameter: SGD([parameter], lr=0.01) for parameter in model.parameters()}
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: optimizers[p].step())
    with relumine.watch(model, optimizers, every=1, strict=True) as monitor:
        for _ in range(STEPS):
            model.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
        assert STEPS - 1 <= monitor.sdk_stats()["steps"] <= STEPS


@pytest.mark.parametrize("make", [wrappers.HomeMade, lambda p: SGD, lambda p: object(), lambda p: "adam"])
def test_what_cannot_be_hooked_gives_one_error_that_names_monitor_step(make, mlp, memory):
    model = mlp()
    source = make(model.parameters())
    for argument in (source, [source], {"a": source}):
        with pytest.raises(SettingsError, match=r"monitor\.step\(\)"):
            relumine.watch(model, argument)
    assert step_hooks() == 0


def test_an_optimizer_of_other_parameters_is_accepted_and_named(mlp, memory, capsys):
    model = mlp()
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    with relumine.watch(model, [optimizer, SGD(model.parameters(), lr=0.1)], strict=True):
        pass
    assert "this Adam has no parameter of the watched model" in capsys.readouterr().err


def test_nothing_stays_on_an_optimizer_after_close(mlp, memory):
    model = mlp()
    optimizer = wrappers.Sam(model.parameters(), lr=0.01)
    relumine.watch(model, optimizer, strict=True).close()
    assert step_hooks(optimizer, optimizer.base_optimizer) == 0
