"""Ways to see inside a compiled model, weighed: sampled steps run eagerly, or an operator lives in the graph.

    python benchmarks/overhead/compiled.py [--rounds 30]

Arms, interleaved, main-thread CPU time per step: compiled bare, the same again (A/A), watched (every tenth step runs
eagerly), and an opaque operator beside each ReLU that returns at once when it is not armed. Below them: how far the
losses of a watched compiled training are from those of an unwatched one. Needs a C++ compiler for inductor.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time

import torch
from torch import Tensor, library, nn
from torch.nn import functional
from workloads import WORKLOADS

import relumine
from relumine.testing import MemoryTransport


@library.custom_op("relumine_bench::probe", mutates_args=())
def probe(z: Tensor) -> Tensor:
    """What an operator in the graph would be when it is not armed: nothing but the call, and a scalar to keep it."""
    return z.new_zeros(())


@probe.register_fake
def _(z: Tensor) -> Tensor:
    return z.new_zeros(())


class Probed(nn.Module):
    """A ReLU with the operator beside it."""

    def forward(self, z: Tensor) -> Tensor:
        """The operator's result is added, or the compiler would remove it."""
        return functional.relu(z) + probe(z.detach())


class Arm:
    """One compiled model in training."""

    def __init__(self, key: str, kind: str) -> None:
        workload = WORKLOADS[key]
        torch.manual_seed(0)
        model, self.x = workload.build(), torch.randn(*workload.shape)
        if kind == "operator in the graph":
            for name, module in list(model.named_children()):
                if isinstance(module, nn.ReLU):
                    setattr(model, name, Probed())
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        self.model = torch.compile(model)
        self.monitor = None
        if kind == "watched":
            self.monitor = relumine.watch(model, self.optimizer, every=10)
        self.losses = self.run(30)[1]

    def run(self, steps: int) -> tuple[float, list[float]]:
        """Microseconds of the main thread's CPU per step, and the losses."""
        losses = []
        began = time.thread_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = self.model(self.x).square().mean()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return (time.thread_time() - began) / steps * 1e6, [float(loss) for loss in losses]


def measure(key: str, rounds: int) -> None:
    """One table."""
    kinds = ("bare", "bare again", "watched", "operator in the graph")
    with MemoryTransport(), contextlib.redirect_stderr(io.StringIO()):
        arms = {kind: Arm(key, kind) for kind in kinds}
        taken: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, arm in arms.items():
                stance = contextlib.nullcontext() if kind == "watched" else torch.compiler.set_stance("default")
                with stance:  # the watched arm may be waiting for a sampled step
                    taken[kind].append(arm.run(10)[0])
        if (monitor := arms["watched"].monitor) is not None:
            monitor.close()
    report(key, arms, taken)


def report(key: str, arms: dict[str, Arm], taken: dict[str, list[float]]) -> None:
    """Medians of paired differences, and what became of the losses."""
    print(f"\n{key} {WORKLOADS[key].title}, compiled: bare {statistics.median(taken['bare']):,.0f} µs a step")
    for kind in list(taken)[1:]:
        differences = [a - b for a, b in zip(taken[kind], taken["bare"], strict=True)]
        low, middle, high = statistics.quantiles(differences, n=4)
        print(f"  {kind:<22} {middle:+9.1f} µs ({low:+.1f} … {high:+.1f})")
    pairs = list(zip(arms["bare"].losses, arms["watched"].losses, strict=True))
    first, most = abs(pairs[0][0] - pairs[0][1]) / abs(pairs[0][0]), max(abs(a - b) / abs(a) for a, b in pairs)
    print(f"  losses: the first, of a sampled step, differs by {first:.1e}; at most {most:.1e} in 30 steps")


def main() -> None:
    """The small and the convolutional workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="W1,W3")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for key in options.only.split(","):
        measure(key, options.rounds)


if __name__ == "__main__":
    main()
