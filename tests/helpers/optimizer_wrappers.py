"""Optimizers as other libraries wrap them, rebuilt as small as what matters here: where the inner one is, who steps."""

from __future__ import annotations

import torch
from torch.optim import SGD, Optimizer


class Sam(Optimizer):
    """Sharpness-aware minimization: climbs, asks for another gradient, returns, and lets its base optimizer step."""

    def __init__(self, params, **options):
        super().__init__(params, dict(rho=0.05, **options))
        self.base_optimizer = SGD(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    def _parameters(self):
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self, *, zero_grad=False):
        for p in self._parameters():
            self.state[p]["offset"] = 0.01 * p.grad
            p.add_(self.state[p]["offset"])
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, *, zero_grad=False):
        for p in self._parameters():
            p.sub_(self.state[p]["offset"])
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure):
        self.first_step(zero_grad=True)
        with torch.enable_grad():
            loss = closure()
        self.second_step()
        return loss


class Larc:
    """Rescales gradients by layer; a plain class, with the optimizer in ``optim``."""

    def __init__(self, optimizer):
        self.optim = optimizer

    @property
    def param_groups(self):
        return self.optim.param_groups

    def zero_grad(self):
        self.optim.zero_grad()

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(0.5)
        self.optim.step()


class Noam:
    """Sets the rate of each step by itself; a plain class without parameter groups."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self._step = 0

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        self._step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 0.01 * min(self._step**-0.5, self._step * 0.01)
        self.optimizer.step()


class PrivateOptimizer(Optimizer):
    """An Optimizer by type that never ran torch's ``__init__``, as the one of Opacus. Skips steps while it gathers."""

    def __init__(self, optimizer, gather=1):
        self.original_optimizer = optimizer
        self.gather = gather
        self.calls = 0

    @property
    def param_groups(self):
        return self.original_optimizer.param_groups

    @property
    def state(self):
        return self.original_optimizer.state

    @property
    def defaults(self):
        return self.original_optimizer.defaults

    def zero_grad(self):
        self.original_optimizer.zero_grad()

    def step(self, closure=None):
        self.calls += 1
        if self.calls % self.gather:
            return None
        return self.original_optimizer.step(closure)


class Lookahead(Optimizer):
    """Fast weights by the inner optimizer, slow ones every few steps. Runs torch's ``__init__``, as some do."""

    def __init__(self, optimizer, every=3):
        super().__init__(optimizer.param_groups, {})
        self.param_groups = optimizer.param_groups
        self.optimizer = optimizer
        self.every = every
        self.steps = 0

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.steps += 1
        if self.steps % self.every == 0:
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.mul_(0.999)
        return loss


class ExtraGradient(Optimizer):
    """Steps its inner optimizer twice for one step of its own."""

    def __init__(self, optimizer):
        super().__init__(optimizer.param_groups, {})
        self.inner = optimizer

    def step(self, closure=None):
        self.inner.step()
        self.inner.step()


class HiddenInner:
    """Keeps the optimizer behind a property and in slots."""

    __slots__ = ("_steps", "_wrapped")

    def __init__(self, optimizer):
        self._wrapped = optimizer
        self._steps = 0

    @property
    def optimizer(self):
        return self._wrapped

    def zero_grad(self):
        self._wrapped.zero_grad()

    def step(self):
        self._wrapped.step()


class Forwarding:
    """Forwards everything to an optimizer that is in none of its attributes."""

    def __init__(self, optimizer):
        self._get = lambda: optimizer

    def __getattr__(self, name):
        if name == "optimizer":
            return self._get()
        return getattr(self._get(), name)

    def step(self):
        self._get().step()


class Composite(Optimizer):
    """Matrices by one optimizer, vectors by another, as with Muon and Adam."""

    def __init__(self, params, lr):
        params = list(params)
        super().__init__(params, {"lr": lr})
        self.parts = [SGD([p for p in params if p.dim() > 1], lr=lr), SGD([p for p in params if p.dim() == 1], lr=lr)]

    def step(self, closure=None):
        for part in self.parts:
            part.step()


class OptimizerDict(dict):
    """Optimizers by name that step together."""

    def zero_grad(self):
        for optimizer in self.values():
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.values():
            optimizer.step()


class Net:
    """An estimator that makes its optimizer itself, in ``optimizer_``."""

    def __init__(self, module):
        self.module_ = module
        self.optimizer = SGD
        self.optimizer_ = SGD(module.parameters(), lr=0.01)

    def zero_grad(self):
        self.optimizer_.zero_grad()

    def step(self):
        self.optimizer_.step()


class DoubleHooked(SGD):
    """A subclass that calls the step of its base class: torch runs the hooks in both."""

    def step(self, closure=None):
        return super().step(closure)


class HomeMade:
    """An optimizer that torch knows nothing of, as fastai's own."""

    def __init__(self, params, lr=0.01):
        self.param_lists = [list(params)]
        self.hypers = [{"lr": lr}]

    def zero_grad(self):
        for p in self.param_lists[0]:
            p.grad = None

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_lists[0]:
            p.sub_(self.hypers[0]["lr"] * p.grad)
