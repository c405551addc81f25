"""A small training that is interrupted, and what an interrupt may leave."""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(functional.relu(self.body(x) - 0.1))


def step(model, optimizer, seed):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def stance():
    evaluation = sys.modules.get("torch._dynamo.eval_frame")
    return "default" if evaluation is None else evaluation._stance.stance


def leftovers():
    module = nn.modules.module
    hooks = [module._global_forward_hooks, module._global_forward_pre_hooks, module._global_forward_hooks_always_called]
    return [*(len(hook) for hook in hooks), _get_current_function_mode_stack(), torch.is_grad_enabled(), stance()]


CLEAN = [0, 0, 0, [], True, "default"]


def build():
    torch.manual_seed(3)
    model = Net()
    return model, torch.optim.SGD(model.parameters(), lr=0.1)
