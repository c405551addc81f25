"""What watching costs a training step: main-thread CPU time, interleaved with the bare training, in one process.

    python benchmarks/overhead/steps.py [--rounds 40]

Arms: bare again (A/A: what the noise hides is not shown), watched but never sampled after the first step, watched at
the default interval (after the grant is spent), and sampled at every step. Reported is the median over rounds of the
difference to bare, with the middle half of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

import relumine
from relumine.testing import MemoryTransport
from relumine.views import Accepted


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Sequential:
    """Three convolutions of 32, 64 and 128 channels on 32x32."""
    layers: list[nn.Module] = []
    for a, b in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


def transformer() -> nn.Module:
    """Four ReLU layers, d = 256, feed-forward 1,024."""
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "W1 MLP 64-256-256-10, batch 64": (lambda: mlp(64, 256, 256, 10), (64, 64), 20),
    "W2 MLP 784-1024x4-10, batch 128": (lambda: mlp(784, 1024, 1024, 1024, 1024, 10), (128, 784), 2),
    "W3 CNN 32-64-128, batch 32": (cnn, (32, 3, 32, 32), 2),
    "W5 transformer d=256, batch 8": (transformer, (8, 64, 256), 1),
}


class Sink(MemoryTransport):
    """Takes uploads without looking at them: what a server does with them is not what a training pays for."""

    def post(self, body: bytes) -> Accepted:
        """Accept."""
        return Accepted(accepted=len(body), duplicate=False, every=None, alerts=[])


class Arm:
    """One model in training, watched or not."""

    def __init__(self, build: Callable[[], nn.Module], shape: tuple[int, ...], **options: object) -> None:
        torch.manual_seed(0)
        self.model, self.x = build(), torch.randn(*shape)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.monitor = relumine.watch(self.model, self.optimizer, **options) if options else None  # type: ignore[arg-type]
        if self.monitor is not None and self.monitor._engine is not None:  # noqa: SLF001 - the grant is spent beforehand
            self.monitor._engine.cost.spent_s = 1.0  # noqa: SLF001

    def run(self, steps: int) -> float:
        """Train some steps; microseconds of the main thread's CPU per step."""
        began = time.thread_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(self.x).square().mean().backward()
            self.optimizer.step()
        return (time.thread_time() - began) / steps * 1e6


def measure(name: str, rounds: int) -> None:
    """Print one table."""
    build, shape, steps = WORKLOADS[name]
    with Sink():
        arms = {
            "bare": Arm(build, shape),
            "bare again (A/A)": Arm(build, shape),
            "never sampled": Arm(build, shape, every=10**9),
            "default interval": Arm(build, shape, mode="online"),
            "every step": Arm(build, shape, every=1),
        }
        taken: dict[str, list[float]] = {arm: [] for arm in arms}
        for turn in range(rounds + 3):
            for arm, training in arms.items():
                cost = training.run(steps)
                if turn >= 3:
                    taken[arm].append(cost)
        for training in arms.values():
            if training.monitor is not None:
                training.monitor.close()
    bare = statistics.median(taken["bare"])
    print(f"\n{name}: bare {bare:,.0f} µs")
    for arm in list(arms)[1:]:
        differences = [a - b for a, b in zip(taken[arm], taken["bare"], strict=True)]
        low, middle, high = statistics.quantiles(differences, n=4)
        print(f"  {arm:<20} {middle:+9.1f} µs ({low:+.1f} … {high:+.1f})  {100 * middle / bare:+6.2f} %")


def main() -> None:
    """Measure all workloads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default="", help="workloads whose name begins so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in WORKLOADS:
        if name.startswith(options.only):
            measure(name, options.rounds)


if __name__ == "__main__":
    main()
