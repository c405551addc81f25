"""The probability of being born dead, by the function that ``relumine.check`` uses, beside values known from elsewhere.

    python benchmarks/detection/born_dead.py [--nets 200000] [--curves 20000]

Nets of one input feature on [-√3, √3] with 2 to 49 hidden layers. He's initialization without biases is tried on the
two points ±1, which is exact: such a net is homogeneous. The others are tried on 64 points. Beside each share stand the
reference and the difference between the two, less what the reference may have been rounded by, in standard errors,
those of both added in squares. Cells of a row are of the same nets, cut off at different depths: they err together.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relumine import _birth
from relumine._birth import Draw, Layer

DEPTHS = (2, 3, 5, 9, 19, 29, 49)  # hidden layers
RAYS = ((1.0,), (-1.0,))
GRID = 64

HE_NETS, DEFAULT_NETS, RAI_NETS = (
    200_000,
    5_000,
    20_000,
)  # of the references: percent by depth, as text, so that the last digit says how they were rounded

HE: Mapping[int, str] = {
    2: "15.57 33.92 62.06 87.98 99.31 99.95 100.00",
    3: "4.30 11.78 29.17 57.72 88.85 97.05 99.79",
    4: "1.15 3.70 11.45 29.41 62.83 80.53 94.65",
    5: "0.29 1.12 4.09 12.94 35.62 53.08 75.11",
    6: "0.07 0.30 1.36 5.18 17.67 29.53 48.54",
}
DEFAULT: Mapping[int, str] = {
    2: "14.9 31.6 61.2 87.5 99.1 99.9 100.0",
    4: "1.0 3.9 13.5 33.4 65.9 82.8 95.5",
    6: "0.1 0.4 2.6 8.0 21.3 32.7 51.5",
}
RAI: Mapping[int, str] = {
    2: "0.80 2.81 8.98 23.91 52.02 70.20 88.80",
    3: "0.08 0.37 1.67 6.15 18.41 29.79 47.58",
    4: "0.01 0.08 0.37 1.88 6.35 10.76 19.07",
    5: "0.00 0.02 0.07 0.43 1.81 3.23 6.46",
    6: "0.00 0.00 0.01 0.14 0.57 1.07 2.19",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A value from elsewhere, in [0, 1]: how many nets it is of (None: exact), and half a unit of its last digit."""

    share: float
    nets: int | None = None
    rounding: float = 0.0

    def variance(self) -> float:
        """Of its sampling."""
        if self.nets is None:
            return 0.0
        p = (self.share * self.nets + 1) / (self.nets + 2)
        return p * (1 - p) / self.nets


def exact(width: int, depth: int) -> Known | None:
    """Where P has a closed form for one input feature, zero biases and inputs of both signs.

    Width 1: the first layer lets one ray through, every later one stops it with probability 1/2. Depth 2: the first
    layer gives the rays disjoint sets of units. With probability 2·2^-N one of them is empty, and then the second layer
    stops the other with 2^-N; else it stops both, independently, with 4^-N.
    """
    if width == 1:
        return Known(1 - 0.5 ** (depth - 1))
    return Known(4.0**-width * (3 - 2.0 ** (1 - width))) if depth == 2 else None


def referred(text: str, nets: int) -> list[Known]:
    """A row of a table of simulated values in percent."""
    return [Known(float(cell) / 100, nets, 0.5 * 10.0 ** -(len(cell.split(".")[1]) + 2)) for cell in text.split()]


@dataclass(slots=True)
class Tally:
    """How many cells differ from their reference by how many standard errors."""

    distances: list[float]

    def line(self) -> str:
        """The summary."""
        within = [sum(distance <= limit for distance in self.distances) for limit in (2, 3)]
        return (
            f"{len(self.distances)} cells: {within[0]} within 2 standard errors, {within[1]} within 3; "
            f"the farthest at {max(self.distances):.1f}"
        )


def tabulate(width: int, draw: Draw, points: Tensor, nets: int, known: Sequence[Known]) -> list[float]:
    """Print one row; returns the distances."""
    stack = [Layer((width, 1), draw), *[Layer((width, width), draw)] * (DEPTHS[-1] - 1)]
    found = _birth.estimate(stack, points, draws=nets, seed=width)
    cells, distances = [], []
    for depth, reference in zip(DEPTHS, known, strict=True):
        difference = max(0.0, abs(found.share(depth) - reference.share) - reference.rounding)
        distance = difference / math.sqrt(found.standard_error(depth) ** 2 + reference.variance())
        mark = "=" if reference.nets is None else " "
        cells.append(f"{100 * found.share(depth):6.2f} ({100 * reference.share:5.2f}){mark}{distance:3.1f}")
        distances.append(distance)
    print(f"  {width}  " + "  ".join(cells))
    return distances


def bounds(width: int) -> None:
    """Print what the closed forms say of a row of He's initialization."""
    rows = {
        "ours ≥": [_birth.ray_bounds((width,) * depth)[0] for depth in DEPTHS],
        "ours ≤": [_birth.ray_bounds((width,) * depth)[1] for depth in DEPTHS],
        "Lu ≤": [_birth.upper_bound((width,) * depth) for depth in DEPTHS],
    }
    for name, row in rows.items():
        print(f"{name:>9} " + "  ".join(f"{100 * share:6.2f}            " for share in row).rstrip())


def main() -> None:
    """Print the three tables and how many cells agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=200_000, help="per width, for He's initialization")
    parser.add_argument("--curves", type=int, default=20_000, help="per width, for the two that have biases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    print("% born dead (reference; = exact) and the distance in standard errors; hidden layers:", *DEPTHS)
    print(f"He, zero biases: {options.nets:,} nets per width, on ±1")
    tally = Tally([])
    rays, grid = torch.tensor(RAYS), torch.linspace(-math.sqrt(3), math.sqrt(3), GRID).unsqueeze(1)
    for width in (1, *HE):
        row = referred(HE[width], HE_NETS) if width in HE else [Known(0.0)] * len(DEPTHS)
        known = [exact(width, depth) or cell for depth, cell in zip(DEPTHS, row, strict=True)]
        tally.distances += tabulate(width, _birth.he, rays, options.nets, known)
        bounds(width)
    for name, draw, table, nets in (
        ("PyTorch's default", _birth.pytorch, DEFAULT, DEFAULT_NETS),
        ("randomized asymmetric", _birth.randomized_asymmetric, RAI, RAI_NETS),
    ):
        print(f"{name}: {options.curves:,} nets per width, on {GRID} points")
        for width, text in table.items():
            tally.distances += tabulate(width, draw, grid, options.curves, referred(text, nets))
    print(f"{tally.line()} ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
