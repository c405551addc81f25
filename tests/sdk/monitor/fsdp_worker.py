"""Two processes under FSDP; started by test_ddp.py. Prints what this rank recorded and how many collectives ran."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils._python_dispatch import TorchDispatchMode

import relumine
from relumine.testing import InMemoryTransport
from tests.helpers.distributed import exit_together


class Collectives(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.namespace in ("c10d", "_c10d_functional")
        return func(*args, **(kwargs or {}))


def train(mode: str, rank: int) -> dict:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(rank)
    losses = []
    with (
        InMemoryTransport() as memory,
        Collectives() as collectives,
        relumine.watch(model, optimizer, every=2, strict=True, mode=mode) as monitor,
    ):
        for _ in range(10):
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        rows = {name: (row["split"], row["missing"]) for name, row in monitor.coverage().items()}
    return {
        "losses": losses,
        "collectives": collectives.count,
        "rows": rows,
        "records": [r.step for r in memory.records("1")],
    }


def main() -> None:
    rank = int(sys.argv[1])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    result = {"watched": train("online", rank), "bare": train("disabled", rank)}
    sys.stdout.write(json.dumps(result) + "\n")
    exit_together(sys.argv[2], rank)


main()
