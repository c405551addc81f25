"""Two processes under DistributedDataParallel; started by test_ddp.py. Prints what this rank uploaded."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import relumine
from relumine.testing import InMemoryTransport
from tests.helpers.distributed import exit_together


def main() -> None:
    rank = int(sys.argv[1])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    torch.manual_seed(1)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(rank)
    with InMemoryTransport() as memory, relumine.watch(model, optimizer, every=2, strict=True):
        for _ in range(10):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    names = sorted({layer.name for upload in memory.uploads for layer in upload.layers})
    result = {"rank": rank, "uploads": len(memory.uploads), "names": names}
    result["world"] = [upload.world_size for upload in memory.uploads][:1]
    sys.stdout.write(json.dumps(result) + "\n")
    exit_together(sys.argv[2], rank)


main()
