"""The probability of being born dead, by the function that ``relumine.check`` uses, beside published values.

    python -m research.scoring.born_dead [--nets 200000] [--curves 20000]

Nets of one input feature on [-√3, √3] with 2 to 49 hidden layers. He's initialization without biases is tried on the
two points ±1, which is exact, because such a net is homogeneous. The others are tried on 64 points. Printed beside each
share are the reference and their difference, less the rounding of the reference, in standard errors of both combined.
Cells of a row are of the same nets, cut off at different depths: their errors are correlated.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relumine._analysis import born_dead
from relumine._analysis.born_dead import Initializer, StackLayer

DEPTHS = (2, 3, 5, 9, 19, 29, 49)
"""Numbers of hidden layers."""
RAYS = ((1.0,), (-1.0,))
POINTS = 64

# The references: percent by depth, as text, because the last digit says how they were rounded; and how many nets each
# of them is of.
HE_NETS = 200_000
HE: Mapping[int, str] = {
    2: "15.57 33.92 62.06 87.98 99.31 99.95 100.00",
    3: "4.30 11.78 29.17 57.72 88.85 97.05 99.79",
    4: "1.15 3.70 11.45 29.41 62.83 80.53 94.65",
    5: "0.29 1.12 4.09 12.94 35.62 53.08 75.11",
    6: "0.07 0.30 1.36 5.18 17.67 29.53 48.54",
}
TORCH_DEFAULT_NETS = 5_000
TORCH_DEFAULT: Mapping[int, str] = {
    2: "14.9 31.6 61.2 87.5 99.1 99.9 100.0",
    4: "1.0 3.9 13.5 33.4 65.9 82.8 95.5",
    6: "0.1 0.4 2.6 8.0 21.3 32.7 51.5",
}
ASYMMETRIC_NETS = 20_000
ASYMMETRIC: Mapping[int, str] = {
    2: "0.80 2.81 8.98 23.91 52.02 70.20 88.80",
    3: "0.08 0.37 1.67 6.15 18.41 29.79 47.58",
    4: "0.01 0.08 0.37 1.88 6.35 10.76 19.07",
    5: "0.00 0.02 0.07 0.43 1.81 3.23 6.46",
    6: "0.00 0.00 0.01 0.14 0.57 1.07 2.19",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A published or exact value, in [0, 1]: the number of nets (None: exact), and half a unit of its last digit."""

    share: float
    nets: int | None = None
    rounding: float = 0.0

    def variance(self) -> float:
        """Return the variance of its sampling."""
        if self.nets is None:
            return 0.0
        p = (self.share * self.nets + 1) / (self.nets + 2)
        return p * (1 - p) / self.nets


def exact_share(width: int, depth: int) -> Reference | None:
    """Return the closed form for one input feature, zero biases and inputs of both signs, if there is one.

    Width 1: the first layer passes one ray, every later one stops it with probability 1/2. Depth 2: the first layer
    gives the rays disjoint sets of units. With probability 2·2^-N one of them is empty, and then the second layer stops
    the other with 2^-N; else it stops both, independently, with 4^-N.
    """
    if width == 1:
        return Reference(1 - 0.5 ** (depth - 1))
    return Reference(4.0**-width * (3 - 2.0 ** (1 - width))) if depth == 2 else None


def read_row(text: str, nets: int) -> list[Reference]:
    """Return a row of simulated values in percent."""
    row = []
    for cell in text.split():
        decimals = len(cell.split(".")[1])
        row.append(Reference(float(cell) / 100, nets, 0.5 * 10.0 ** -(decimals + 2)))
    return row


def print_row(width: int, draw: Initializer, points: Tensor, nets: int, references: Sequence[Reference]) -> list[float]:
    """Print one row; return the distances to the references in standard errors."""
    stack = [StackLayer((width, 1), draw), *[StackLayer((width, width), draw)] * (DEPTHS[-1] - 1)]
    estimate = born_dead.estimate(stack, points, draws=nets, seed=width)
    cells = []
    distances = []
    for depth, reference in zip(DEPTHS, references, strict=True):
        share = estimate.fraction(depth)
        difference = max(0.0, abs(share - reference.share) - reference.rounding)
        distance = difference / math.sqrt(estimate.standard_error(depth) ** 2 + reference.variance())
        mark = "=" if reference.nets is None else " "
        cells.append(f"{100 * share:6.2f} ({100 * reference.share:5.2f}){mark}{distance:3.1f}")
        distances.append(distance)
    print(f"  {width}  " + "  ".join(cells))
    return distances


def print_bounds(width: int) -> None:
    """Print the closed bounds for a row of He's initialization."""
    rows = {
        "ours ≥": [born_dead.ray_bounds((width,) * depth)[0] for depth in DEPTHS],
        "ours ≤": [born_dead.ray_bounds((width,) * depth)[1] for depth in DEPTHS],
        "Lu ≤": [born_dead.upper_bound((width,) * depth) for depth in DEPTHS],
    }
    for name, row in rows.items():
        print(f"{name:>9} " + "  ".join(f"{100 * share:6.2f}            " for share in row).rstrip())


def print_he(nets: int) -> list[float]:
    """Print the table of He's initialization; return the distances."""
    print(f"He, zero biases: {nets:,} nets per width, on ±1")
    distances = []
    rays = torch.tensor(RAYS)
    for width in (1, *HE):
        references = [Reference(0.0)] * len(DEPTHS)
        if width in HE:
            references = read_row(HE[width], HE_NETS)
        for index, depth in enumerate(DEPTHS):
            references[index] = exact_share(width, depth) or references[index]
        distances += print_row(width, born_dead.he_normal, rays, nets, references)
        print_bounds(width)
    return distances


def print_with_biases(
    name: str, draw: Initializer, table: Mapping[int, str], reference_nets: int, nets: int
) -> list[float]:
    """Print the table of an initialization that has biases; return the distances."""
    print(f"{name}: {nets:,} nets per width, on {POINTS} points")
    points = torch.linspace(-math.sqrt(3), math.sqrt(3), POINTS).unsqueeze(1)
    distances = []
    for width, text in table.items():
        distances += print_row(width, draw, points, nets, read_row(text, reference_nets))
    return distances


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nets", type=int, default=200_000, help="per width, for He's initialization")
    options.add_argument("--curves", type=int, default=20_000, help="per width, for the two that have biases")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the three tables and how many cells agree."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    print("% born dead (reference; = exact) and the distance in standard errors; hidden layers:", *DEPTHS)
    distances = print_he(options.nets)
    distances += print_with_biases(
        "PyTorch's default", born_dead.torch_default, TORCH_DEFAULT, TORCH_DEFAULT_NETS, options.curves
    )
    distances += print_with_biases(
        "randomized asymmetric", born_dead.randomized_asymmetric, ASYMMETRIC, ASYMMETRIC_NETS, options.curves
    )
    within_2 = sum(distance <= 2 for distance in distances)
    within_3 = sum(distance <= 3 for distance in distances)
    print(f"{len(distances)} cells: {within_2} within 2 standard errors, {within_3} within 3; ", end="")
    print(f"the farthest at {max(distances):.1f} ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
