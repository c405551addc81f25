"""DistributedDataParallel: the same code on every rank; rank 0 watches.

relumine-server serve                                                # in another terminal
torchrun --standalone --nproc-per-node 2 examples/ddp.py [--dying]   # --dying: the learning rate is 50 times too high
"""

from __future__ import annotations

import argparse

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import relumine

STEPS = 300


def main(*, dying: bool) -> None:
    """Train on all processes that torchrun started."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 if dying else 0.002)
    torch.manual_seed(dist.get_rank())  # every rank draws different data

    monitor = relumine.watch(model, optimizer, project="examples", name="ddp-dying" if dying else "ddp")
    for _ in range(STEPS):
        inputs = torch.randn(64, 16)
        labels = torch.bucketize(inputs[:, 0] + inputs[:, 1] * inputs[:, 2], torch.tensor([-0.5, 0.5]))
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log(loss=loss)
    monitor.close()

    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
