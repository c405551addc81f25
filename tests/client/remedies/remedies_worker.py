"""Two processes under DistributedDataParallel; started by test_wrapped.py. Prints what each did to its model."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import leave

from relumine import remedies


def main() -> None:
    rank = int(sys.argv[1])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    model = DistributedDataParallel(plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(100 + rank)  # each process has inputs and draws of its own
    x = torch.randn(64, 6)
    with torch.no_grad():
        plain[1].bias[2], plain[3].bias[1] = -60.0, -60.0
        plain[3].weight[4], plain[3].bias[4] = 0.0, 1.0 - 2.0 * rank  # dead in the second process alone
    train(model, optimizer, x, 3)
    done = remedies.revive_(model, x, optimizer)
    remedies.replace_relu_(model, layers="4")
    remedies.lower_learning_rate(optimizer, factor=0.5)
    after = state_of(plain, optimizer)
    train(model, optimizer, x, 3)
    error = ""
    try:
        remedies.replace_relu_(model, "prelu", optimizer=optimizer)
    except ValueError as found:
        error = str(found)
    said = {"units": done.units, "change": done.output_change, "after": after, "error": error}
    sys.stdout.write(json.dumps(said | {"trained": parameters_of(plain)}) + "\n")
    leave(sys.argv[2], rank)


def train(model, optimizer, x, steps):
    for _ in range(steps):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def parameters_of(model):
    return {name: one.flatten().tolist() for name, one in model.named_parameters()}


def state_of(model, optimizer):
    moments = [one.flatten().tolist() for state in optimizer.state.values() for one in state.values()]
    return [parameters_of(model), moments]


main()
