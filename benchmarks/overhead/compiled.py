"""Two ways to observe a compiled model: sampled steps run eagerly, or an operator in the graph.

    python -m benchmarks.overhead.compiled [--rounds 30] [--workloads W1 W3] [--backend inductor]

Arms, interleaved, main-thread CPU time per step: compiled without watching, the same again (A/A), watched (every tenth
step runs eagerly), and an opaque operator beside each ReLU that returns at once when it is not armed. Below them: how
far the losses of a watched compiled training are from those of an unwatched one. The backend inductor needs a C++
compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, library, nn
from torch.nn import functional

import relumine
from benchmarks.overhead.workloads import WORKLOADS
from relumine.testing import InMemoryTransport

ARMS = ("bare", "bare again", "watched", "operator in the graph")
EVERY = 10
WARM_UP_STEPS = 30


@library.custom_op("relumine_bench::probe", mutates_args=())
def probe(z: Tensor) -> Tensor:
    """Return a zero: an operator in the graph that is not armed costs its call and a scalar that keeps it alive."""
    return z.new_zeros(())


@probe.register_fake
def _(z: Tensor) -> Tensor:
    return z.new_zeros(())


class ProbedReLU(nn.Module):
    """A ReLU with the operator beside it."""

    def forward(self, z: Tensor) -> Tensor:
        """Add the operator's result, or the compiler would remove the operator."""
        return functional.relu(z) + probe(z.detach())  # type: ignore[no-any-return]


class Arm:
    """One compiled model in training."""

    def __init__(self, workload_name: str, kind: str, backend: str) -> None:
        workload = WORKLOADS[workload_name]
        torch.manual_seed(0)
        model = workload.build()
        self.x = torch.randn(*workload.shape)
        if kind == "operator in the graph":
            for name, module in list(model.named_children()):
                if isinstance(module, nn.ReLU):
                    setattr(model, name, ProbedReLU())
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        self.model = torch.compile(model, backend=backend)
        self.monitor = None
        if kind == "watched":
            self.monitor = relumine.watch(model, self.optimizer, every=EVERY)
        _, self.losses = self.run(WARM_UP_STEPS)

    def run(self, steps: int) -> tuple[float, list[float]]:
        """Train; return microseconds of the main thread's CPU per step, and the losses."""
        losses = []
        start = time.thread_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = self.model(self.x).square().mean()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return (time.thread_time() - start) / steps * 1e6, [float(loss) for loss in losses]


def measure(workload_name: str, rounds: int, backend: str) -> None:
    """Measure one workload and print its table."""
    with InMemoryTransport(), contextlib.redirect_stderr(io.StringIO()):
        arms = {kind: Arm(workload_name, kind, backend) for kind in ARMS}
        costs: dict[str, list[float]] = {kind: [] for kind in ARMS}
        for _ in range(rounds):
            for kind, arm in arms.items():
                stance = contextlib.nullcontext() if kind == "watched" else torch.compiler.set_stance("default")
                with stance:  # the watched arm may be waiting for a sampled step
                    costs[kind].append(arm.run(EVERY)[0])
        if (monitor := arms["watched"].monitor) is not None:
            monitor.close()
    print_table(workload_name, arms, costs)


def print_table(workload_name: str, arms: dict[str, Arm], costs: dict[str, list[float]]) -> None:
    """Print the quartiles of paired differences, and by how much the losses differ."""
    bare_us = statistics.median(costs["bare"])
    print(f"\n{workload_name} {WORKLOADS[workload_name].title}, compiled: bare {bare_us:,.0f} µs a step")
    for kind in ARMS[1:]:
        differences = [cost - bare for cost, bare in zip(costs[kind], costs["bare"], strict=True)]
        low, middle, high = statistics.quantiles(differences, n=4)
        print(f"  {kind:<22} {middle:+9.1f} µs ({low:+.1f} … {high:+.1f})")
    losses = zip(arms["bare"].losses, arms["watched"].losses, strict=True)
    distances = [abs(bare - watched) / abs(bare) for bare, watched in losses]
    print(f"  losses: that of the first step, a sampled one, differs by {distances[0]:.1e}; ", end="")
    print(f"at most {max(distances):.1e} in {WARM_UP_STEPS} steps")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--workloads", nargs="+", choices=tuple(WORKLOADS), default=["W1", "W3"])
    options.add_argument("--backend", default="inductor", help="of torch.compile")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the small and the convolutional workload."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    for workload_name in options.workloads:
        measure(workload_name, options.rounds, options.backend)


if __name__ == "__main__":
    main()
