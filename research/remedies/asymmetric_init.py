"""Narrow deep nets trained from He's and from randomized asymmetric weights (Lu et al., arXiv 1903.06733).

    python -m research.remedies.asymmetric_init [--nets 500] [--steps 3000] [--seed 0] [--tasks 4]

Each task is learned by many nets at once, in tensors whose last dimension is that of the nets; Adam treats every number
independently, so that nets do not influence each other. All nets of a task see the same batches. Shares are of nets,
± half a 95 % interval:

- born dead: a hidden layer that is silent on the whole grid, before the first step;
- collapsed: an output that differs by less than 0.01 over the grid, after the last step;
- in training: collapsed though not born dead;
- fits: a mean squared error below 5 % of the target's variance.

The published shares of collapse are quoted from other papers: the tables of the original could not be read, and its
optimizer, learning rate and number of steps are unknown. Ours are Adam, 1e-3 and ``--steps`` batches of 64. The shape
of its last net is unknown too: ours has 20 layers of 4.

The last table is of nets that were not trained: the depth at which asymmetric weights make outputs constant.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relumine._analysis import born_dead
from relumine._analysis.born_dead import Initializer

EDGE = math.sqrt(3)
"""Inputs are uniform within ±√3: variance 1."""
BATCH = 64
LEARNING_RATE = 1e-3
COLLAPSED = 0.01
FITS = 0.05
CONSTANT = 1e-6
"""Share of the output's size that float32 can resolve."""
UNTRAINED_DEPTHS = (9, 19, 29, 49)
UNTRAINED_WIDTHS = (4, 6)

INITIALIZERS: dict[str, Initializer] = {"He": born_dead.he_normal, "asymmetric": born_dead.randomized_asymmetric}


@dataclass(frozen=True, slots=True)
class Task:
    """A function to learn, the net's hidden layers and width, and the published collapse of both initializations."""

    name: str
    target: Callable[[Tensor], Tensor]
    published: tuple[str, str]
    inputs: int = 1
    hidden: int = 9
    width: int = 2


TASKS = (
    Task("|x|", torch.abs, published=("> 90", "–")),
    Task("x sin 5x", lambda x: x * (5 * x).sin(), published=("91.9", "29.2")),
    Task("1{x>0} + 0.2 sin 5x", lambda x: (x > 0).float() + 0.2 * (5 * x).sin(), published=("93.8", "32.6")),
    Task(
        "[|x1+x2|, |x1-x2|]",
        lambda x: torch.stack([x[0] + x[1], x[0] - x[1]]).abs(),
        published=("76.8", "9.6"),
        inputs=2,
        hidden=19,
        width=4,
    ),
)


class Nets:
    """Many nets of one shape: weights (units, inputs, 1, nets) and biases (units, 1, nets) of each layer.

    For matrices as small as these, products number by number are twenty times as fast as batched matrix products.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], draw: Initializer, nets: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        for shape in shapes:
            weights, biases = draw(nets, shape, generator)
            self.weights.append(weights.permute(1, 2, 0).unsqueeze(2).contiguous().requires_grad_())
            self.biases.append(biases.t().unsqueeze(1).contiguous().requires_grad_())

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return every layer's output on points (inputs, points), the last without a ReLU: (units, points, nets)."""
        h = x.unsqueeze(2).expand(*x.shape, self.weights[0].shape[3])
        z = h
        outputs = []
        for weights, biases in zip(self.weights, self.biases, strict=True):
            z = biases + h[0] * weights[:, 0]
            for unit in range(1, len(h)):
                z = torch.addcmul(z, h[unit], weights[:, unit])
            h = z.relu()
            outputs.append(h)
        outputs[-1] = z
        return outputs


def output_range(outputs: Tensor) -> Tensor:
    """Return the largest difference over the points, of the output that differs most: (nets,)."""
    return (outputs.amax(1) - outputs.amin(1)).amax(0)


def train(nets: Nets, task: Task, steps: int, seed: int) -> None:
    """Learn a task; the loss is a sum over the nets, so that each has its own gradient."""
    optimizer = torch.optim.Adam([*nets.weights, *nets.biases], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = (2 * torch.rand(task.inputs, BATCH, generator=generator) - 1) * EDGE
        loss = (nets.outputs(x)[-1] - task.target(x).unsqueeze(2)).square().mean((0, 1)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def grid(inputs: int) -> Tensor:
    """Return points over the whole domain: (inputs, points)."""
    if inputs == 1:
        return torch.linspace(-EDGE, EDGE, 512)[None]
    line = torch.linspace(-EDGE, EDGE, 23)
    return torch.cartesian_prod(line, line).t()


def half_interval(share: float, nets: int) -> float:
    """Return half of a 95 % interval by Agresti and Coull, which is not zero for no or all nets."""
    p = (share * nets + 2) / (nets + 4)
    return 1.96 * math.sqrt(p * (1 - p) / (nets + 4))


def percent(flags: Tensor) -> str:
    """Return the share of nets with half of its interval."""
    share = float(flags.double().mean())
    return f"{100 * share:5.1f} ± {100 * half_interval(share, len(flags)):.1f}"


def print_row(task: Task, initialization: str, published: str, options: argparse.Namespace) -> Tensor:
    """Train, print a line, and return which nets collapsed."""
    outputs = 1 if task.inputs == 1 else 2
    shapes = [(task.width, task.inputs), *[(task.width, task.width)] * (task.hidden - 1), (outputs, task.width)]
    nets = Nets(shapes, INITIALIZERS[initialization], options.nets, options.seed)
    points = grid(task.inputs)
    with torch.no_grad():
        is_silent = [(hidden > 0).sum((0, 1)) == 0 for hidden in nets.outputs(points)[:-1]]
        is_born_dead = torch.stack(is_silent).any(0)
    train(nets, task, options.steps, options.seed + 1)
    with torch.no_grad():
        answers = nets.outputs(points)[-1]
        targets = task.target(points).unsqueeze(2)
        collapsed = output_range(answers) < COLLAPSED
        fits = (answers - targets).square().mean((0, 1)) < FITS * targets.var(1).mean()
    cells = [percent(is_born_dead), percent(collapsed), percent(collapsed & ~is_born_dead), percent(fits)]
    row = "".join(f"{cell:>14}" for cell in cells)
    print(f"{task.name:22}{initialization:12}{row}{published:>14}", flush=True)
    return collapsed


def print_trained(options: argparse.Namespace) -> None:
    """Print the table of trained nets."""
    print(f"{options.nets} nets each, Adam {LEARNING_RATE:g}, {options.steps} steps of {BATCH}; ", end="")
    print("percent of nets ± half of 95 %")
    heads = ("born dead", "collapsed", "in training", "fits", "published")
    print(f"{'target':22}{'weights':12}" + "".join(f"{head:>14}" for head in heads))
    for task in TASKS[: options.tasks]:
        collapsed = []
        for initialization, published in zip(INITIALIZERS, task.published, strict=True):
            flags = print_row(task, initialization, published, options)
            collapsed.append(float(flags.double().mean()))
        he, asymmetric = collapsed
        half = math.hypot(half_interval(he, options.nets), half_interval(asymmetric, options.nets))
        net = f"{task.hidden + 1} layers, width {task.width}"
        gain = f"{100 * (he - asymmetric):.1f} ± {100 * half:.1f}"
        print(f"{'':22}{net}: {gain} percentage points fewer collapse", flush=True)


def print_untrained(options: argparse.Namespace) -> None:
    """Print the table of nets that were not trained, by depth."""
    points = grid(1)
    print(f"\n{options.nets} nets, not trained: percent whose output is constant in float32, by hidden layers")
    print(f"{'width':8}{'weights':12}" + "".join(f"{depth:>14}" for depth in UNTRAINED_DEPTHS))
    for width in UNTRAINED_WIDTHS:
        for initialization, draw in INITIALIZERS.items():
            cells = []
            for depth in UNTRAINED_DEPTHS:
                shapes = [(width, 1), *[(width, width)] * (depth - 1), (1, width)]
                nets = Nets(shapes, draw, options.nets, options.seed)
                with torch.no_grad():
                    answers = nets.outputs(points)[-1]
                cells.append(percent(output_range(answers) <= CONSTANT * answers.abs().amax((0, 1))))
            print(f"{width:<8}{initialization:12}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nets", type=int, default=500)
    options.add_argument("--steps", type=int, default=3000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--tasks", type=int, default=len(TASKS), help="use only the first so many")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    options = parser().parse_args(arguments)
    start = time.perf_counter()
    torch.set_num_threads(1)  # these tensors are too small to divide
    torch.set_flush_denormal(True)
    print_trained(options)
    print_untrained(options)
    print(f"\ntook {time.perf_counter() - start:.0f} s, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
