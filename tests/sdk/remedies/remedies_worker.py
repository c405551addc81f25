"""One of two processes under DistributedDataParallel; started by test_wrapped.py. Prints its changes and its model."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from relumine.remedies import _learning_rate, _replace_relu, _revive
from tests.helpers.distributed import exit_together


def main() -> None:
    rank = int(sys.argv[1])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    model = DistributedDataParallel(plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(100 + rank)  # each process has other inputs and random numbers
    x = torch.randn(64, 6)
    with torch.no_grad():
        plain[1].bias[2], plain[3].bias[1] = -60.0, -60.0
        plain[3].weight[4], plain[3].bias[4] = 0.0, 1.0 - 2.0 * rank  # dead in the second process only
    train(model, optimizer, x, 3)
    result = _revive.revive_(model, x, optimizer)
    _replace_relu.replace_relu_(model, layers="4")
    _learning_rate.lower_learning_rate(optimizer, factor=0.5)
    state = state_of(plain, optimizer)
    train(model, optimizer, x, 3)
    error_text = ""
    try:
        _replace_relu.replace_relu_(model, "prelu", optimizer=optimizer)
    except ValueError as error:
        error_text = str(error)
    report = {"units": result.units, "change": result.output_change, "state": state, "error": error_text}
    sys.stdout.write(json.dumps(report | {"trained": parameters_of(plain)}) + "\n")
    exit_together(sys.argv[2], rank)


def train(model, optimizer, x, steps):
    for _ in range(steps):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def parameters_of(model):
    return {name: parameter.flatten().tolist() for name, parameter in model.named_parameters()}


def state_of(model, optimizer):
    moments = [moment.flatten().tolist() for state in optimizer.state.values() for moment in state.values()]
    return [parameters_of(model), moments]


main()
