"""Fine-tuning: a frozen body and a new head.

relumine-server serve                       # in another terminal
python examples/fine_tuning.py [--dying]    # --dying: the learning rate is 50 times too high
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

import relumine

STEPS = 400


def pretrained() -> nn.Sequential:
    """Return a body that was trained on another task; this training is not watched."""
    body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    head = nn.Linear(64, 1)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.002)
    for _ in range(200):
        inputs = torch.randn(64, 16)
        loss = functional.mse_loss(head(body(inputs))[:, 0], inputs[:, 0] * inputs[:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return body


class Tuned(nn.Module):
    """The frozen body and the new head."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body.requires_grad_(requires_grad=False)
        self.head = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.body(inputs))


def main(*, dying: bool) -> None:
    """Train the head on a new task."""
    torch.manual_seed(0)
    model = Tuned(pretrained())
    model.body.eval()  # modules in eval mode are not watched, and raise no alert
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.1 if dying else 0.002)

    monitor = relumine.watch(model, optimizer, project="examples", name="tuning-dying" if dying else "tuning")
    for _ in range(STEPS):
        inputs = torch.randn(64, 16)
        labels = torch.bucketize(inputs[:, 0] + inputs[:, 2], torch.tensor([-0.5, 0.5]))
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log(loss=loss)
    monitor.close()

    print(f"watched: {[name for name, row in monitor.coverage().items() if row['observed'] != 'never']}")
    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
