"""A plain PyTorch loop with three lines of Relumine.

relumine-server serve                       # in another terminal
python examples/plain_loop.py [--dying]     # --dying: the learning rate is 50 times too high
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional

import relumine

STEPS = 400


def main(*, dying: bool) -> None:
    """Train a classifier of 16 inputs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 if dying else 0.002)
    inputs = torch.randn(4_000, 16)
    labels = torch.bucketize(inputs[:, 0] + inputs[:, 1] * inputs[:, 2], torch.tensor([-0.5, 0.5]))

    monitor = relumine.watch(model, optimizer, project="examples", name="plain-dying" if dying else "plain")
    for _ in range(STEPS):
        batch = torch.randint(len(inputs), (64,))
        loss = functional.cross_entropy(model(inputs[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log(loss=loss)
    monitor.close()

    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
