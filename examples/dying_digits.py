"""A small network that really dies, beside a healthy twin.

Trains the same multilayer perceptron twice on scikit-learn's digits. In the second run the learning rate is raised
halfway, as a wrong schedule or a mistyped resume would do it. The alerts of both runs are printed as they come; nothing
in this script knows the outcome.

    python examples/dying_digits.py [--seed 0] [--lr 0.05] [--lr-after 0.5] [--url http://127.0.0.1:7358]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import relumine

STEPS = 1_200
RAISED_AT = 600
BATCH = 64


def build() -> nn.Sequential:
    """Return a network of 64 pixels, two hidden layers and ten digits."""
    layers = [
        ("fc1", nn.Linear(64, 128)),
        ("relu1", nn.ReLU()),
        ("fc2", nn.Linear(128, 64)),
        ("relu2", nn.ReLU()),
        ("out", nn.Linear(64, 10)),
    ]
    model = nn.Sequential()
    for name, module in layers:
        model.add_module(name, module)
    return model


def load() -> tuple[torch.Tensor, torch.Tensor]:
    """Return 1,797 images of 8x8 pixels, standardized together, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor((pixels - pixels.mean()) / pixels.std(), dtype=torch.float32)
    return images, torch.tensor(labels)


def train(name: str, seed: int, lr: float, lr_after: float, url: str | None) -> relumine.Monitor:
    """Train one run, and return its monitor."""
    torch.manual_seed(seed)
    images, labels = load()
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    config = {"seed": seed, "lr": lr, "lr_after": lr_after}
    with relumine.watch(model, optimizer, project="digits", name=name, config=config, url=url) as monitor:
        for step in range(1, STEPS + 1):
            if step == RAISED_AT:
                for group in optimizer.param_groups:
                    group["lr"] = lr_after
            batch = torch.randint(len(images), (BATCH,))
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log(loss=loss)
            if step % 200 == 0:
                print(f"  {name}: step {step:>5,}  lr {optimizer.param_groups[0]['lr']:<6g} loss {loss.item():.3f}")
        monitor.flush()
    print(f"  {name}: {never_active(model, images):.0%} of the units are active on none of the {len(images):,} images")
    return monitor


@torch.no_grad()
def never_active(model: nn.Sequential, images: torch.Tensor) -> float:
    """Return the share of units that no image activates: the ground truth, measured without Relumine."""
    silent: list[np.ndarray] = []
    hidden = images
    for module in model:
        if isinstance(module, nn.ReLU):
            silent.append((hidden <= 0).all(0).numpy())
        hidden = module(hidden)
    return float(np.concatenate(silent).mean())


def main() -> int:
    """Train the healthy run and the one with the raised learning rate, and print the alerts of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.05, help="the healthy learning rate")
    parser.add_argument("--lr-after", type=float, default=0.5, help="the raised learning rate of the second run")
    parser.add_argument("--url", default=None, help="the server (default: RELUMINE_URL)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, lr_after in (("healthy", options.lr), ("raised", options.lr_after)):
        print(f"training {name} (seed {options.seed}, lr {options.lr:g}, from step {RAISED_AT} on {lr_after:g})")
        monitor = train(f"{name}-{options.seed}", options.seed, options.lr, lr_after, options.url)
        alerts = monitor.alerts()
        print(f"alerts of {name}: {len(alerts)}")
        for alert in alerts:
            print(f"  {alert.message} ({alert.resolved_reason or alert.state})")
            for remedy in alert.remedies:
                number = "" if remedy.value is None else f" ({remedy.parameter} {remedy.value:g})"
                print(f"      {remedy.action}{number}: {remedy.reason}")
                print(*(f"          {line}" for line in remedy.code.splitlines()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
