"""Narrow deep nets trained from He's and from randomized asymmetric weights (Lu et al., arXiv 1903.06733).

    python benchmarks/remedies/rai.py [--nets 500] [--steps 3000] [--seed 0]

Each task is learned by many nets at once, in tensors whose last dimension are the nets; Adam treats every number by
itself, so that no net knows of another. All nets of a task see the same batches. Shares are of nets, ± half a 95 %
interval:

- born dead: a hidden layer that is silent on the whole grid, before the first step;
- collapsed: an output that differs by less than 0.01 over the grid, after the last step;
- of these, died in training: collapsed though not born dead;
- fits: a mean squared error below 5 % of the target's variance.

Beside them stand the figures published for collapse, as others quote them: the tables of the paper itself could not be
read. Its optimizer, learning rate and number of steps are not known to us; ours are Adam, 1e-3 and ``--steps`` batches
of 64. Of its last net we do not know the shape: ours has 20 layers of 4.

Last come nets that were not trained: how deep asymmetric weights may go before they make outputs constant.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relumine import _birth
from relumine._birth import Draw

EDGE = math.sqrt(3)  # inputs are uniform within ±√3: variance 1
BATCH, RATE = 64, 1e-3
COLLAPSED, FITS = 0.01, 0.05
CONSTANT = 1e-6  # of the output's size: what float32 can tell apart

INITIALIZATIONS: dict[str, Draw] = {"He": _birth.he, "asymmetric": _birth.randomized_asymmetric}


@dataclass(frozen=True, slots=True)
class Task:
    """A function to learn, the net's hidden layers and width, and the collapse published for both initializations."""

    name: str
    target: Callable[[Tensor], Tensor]
    inputs: int
    hidden: int
    width: int
    published: tuple[str, str]


TASKS = (
    Task("|x|", torch.abs, 1, 9, 2, ("> 90", "–")),
    Task("x sin 5x", lambda x: x * (5 * x).sin(), 1, 9, 2, ("91.9", "29.2")),
    Task("1{x>0} + 0.2 sin 5x", lambda x: (x > 0).float() + 0.2 * (5 * x).sin(), 1, 9, 2, ("93.8", "32.6")),
    Task(
        "[|x1+x2|, |x1-x2|]",
        lambda x: torch.stack([x[0] + x[1], x[0] - x[1]]).abs(),
        2,
        19,
        4,
        ("76.8", "9.6"),
    ),
)


class Nets:
    """Many nets of one shape: weights (units, inputs, 1, nets) and biases (units, 1, nets) of each layer.

    For matrices as small as these products number by number are twenty times as fast as batched ones of matrices.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], draw: Draw, nets: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = [draw(nets, shape, generator) for shape in shapes]
        self.weights = [one.permute(1, 2, 0).unsqueeze(2).contiguous().requires_grad_() for one, _ in drawn]
        self.biases = [one.t().unsqueeze(1).contiguous().requires_grad_() for _, one in drawn]

    def answers(self, x: Tensor) -> list[Tensor]:
        """What every layer answers to points (inputs, points), the last without a ReLU: (units, points, nets) each."""
        h, found = x.unsqueeze(2).expand(*x.shape, self.weights[0].shape[3]), []
        for weights, biases in zip(self.weights, self.biases, strict=True):
            z = biases + h[0] * weights[:, 0]
            for unit in range(1, len(h)):
                z = torch.addcmul(z, h[unit], weights[:, unit])
            h = z.relu()
            found.append(h)
        return [*found[:-1], z]


def spread(outputs: Tensor) -> Tensor:
    """The largest difference over the points, of the output that differs most: (nets,)."""
    return (outputs.amax(1) - outputs.amin(1)).amax(0)


def train(nets: Nets, task: Task, steps: int, seed: int) -> None:
    """Learn a task; the loss is a sum over the nets, so that each has its own gradient."""
    optimizer = torch.optim.Adam([*nets.weights, *nets.biases], lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = (2 * torch.rand(task.inputs, BATCH, generator=generator) - 1) * EDGE
        loss = (nets.answers(x)[-1] - task.target(x).unsqueeze(2)).square().mean((0, 1)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def grid(inputs: int) -> Tensor:
    """Points over the whole domain: (inputs, points)."""
    if inputs == 1:
        return torch.linspace(-EDGE, EDGE, 512)[None]
    line = torch.linspace(-EDGE, EDGE, 23)
    return torch.cartesian_prod(line, line).t()


def interval(share: float, nets: int) -> float:
    """Half of a 95 % interval, by Agresti and Coull, so that no or all nets do not pass for certainty."""
    p = (share * nets + 2) / (nets + 4)
    return 1.96 * math.sqrt(p * (1 - p) / (nets + 4))


def percent(which: Tensor) -> str:
    """The share of nets, with half of its interval."""
    share = float(which.double().mean())
    return f"{100 * share:5.1f} ± {100 * interval(share, len(which)):.1f}"


def row(task: Task, name: str, published: str, options: argparse.Namespace) -> Tensor:
    """Train, print a line, and say which nets collapsed."""
    outputs = 1 if task.inputs == 1 else 2
    shapes = [(task.width, task.inputs), *[(task.width, task.width)] * (task.hidden - 1), (outputs, task.width)]
    nets, points = Nets(shapes, INITIALIZATIONS[name], options.nets, options.seed), grid(task.inputs)
    with torch.no_grad():
        born = torch.stack([(h > 0).sum((0, 1)) == 0 for h in nets.answers(points)[:-1]]).any(0)
    train(nets, task, options.steps, options.seed + 1)
    with torch.no_grad():
        answers, wanted = nets.answers(points)[-1], task.target(points).unsqueeze(2)
        collapsed = spread(answers) < COLLAPSED
        fits = (answers - wanted).square().mean((0, 1)) < FITS * wanted.var(1).mean()
    cells = [percent(born), percent(collapsed), percent(collapsed & ~born), percent(fits)]
    print(f"{task.name:22}{name:12}" + "".join(f"{cell:>14}" for cell in cells) + f"{published:>14}", flush=True)
    return collapsed


def trained(options: argparse.Namespace) -> None:
    """The table of what training makes of them."""
    print(f"{options.nets} nets each, Adam {RATE:g}, {options.steps} steps of {BATCH}; percent of nets ± half of 95 %")
    heads = ("born dead", "collapsed", "in training", "fits", "published")
    print(f"{'target':22}{'weights':12}" + "".join(f"{head:>14}" for head in heads))
    for task in TASKS[: options.tasks]:
        pairs = zip(INITIALIZATIONS, task.published, strict=True)
        he, asymmetric = (row(task, name, published, options) for name, published in pairs)
        gain = float(he.double().mean() - asymmetric.double().mean())
        half = math.hypot(*(interval(float(one.double().mean()), options.nets) for one in (he, asymmetric)))
        net = f"{task.hidden + 1} layers, width {task.width}"
        print(f"{'':22}{net}: {100 * gain:.1f} ± {100 * half:.1f} percentage points fewer collapse", flush=True)


def untrained(options: argparse.Namespace) -> None:
    """The table of how deep they may be."""
    depths, points = (9, 19, 29, 49), grid(1)
    print(f"\n{options.nets} nets, not trained: percent whose output is constant in float32, by hidden layers")
    print(f"{'width':8}{'weights':12}" + "".join(f"{depth:>14}" for depth in depths))
    for width in (4, 6):
        for name, draw in INITIALIZATIONS.items():
            cells = []
            for depth in depths:
                nets = Nets([(width, 1), *[(width, width)] * (depth - 1), (1, width)], draw, options.nets, options.seed)
                with torch.no_grad():
                    answers = nets.answers(points)[-1]
                cells.append(percent(spread(answers) <= CONSTANT * answers.abs().amax((0, 1))))
            print(f"{width:<8}{name:12}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def main() -> None:
    """Read the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=500)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="the first so many of them")
    options = parser.parse_args()
    began = time.perf_counter()
    torch.set_num_threads(1)  # these tensors are too small to share out
    torch.set_flush_denormal(True)
    trained(options)
    untrained(options)
    print(f"\ntook {time.perf_counter() - began:.0f} s, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
