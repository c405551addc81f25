"""How the figures look: a few quiet colours on a white card, and the same bytes whenever the same is drawn.

SVG keeps its text as text, so that a figure stays small and a reader's own sans serif may take over.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, SHADE = "#1f2328", "#6e7781", "#d0d7de"
RED, BLUE, AMBER, GREEN = "#c4321c", "#0b62b8", "#b87503", "#2f7d4f"
ROWS, LETTER = 3, 0.0105
"""Rows of words above a panel, and the width of a letter there in parts of the panel."""
STYLE: dict[str, Any] = {
    "svg.hashsalt": "relumine",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "legend.fontsize": 8,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.6,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
plt.style.use(STYLE)


def panels(title: str, *, heights: Sequence[float], columns: int = 1) -> tuple[Figure, Any]:
    """A titled figure and its panels: ``heights`` in inches, those above each other share their steps."""
    figure, axes = plt.subplots(
        len(heights),
        columns,
        figsize=(7.6, 1.1 + sum(heights)),
        sharex=len(heights) > 1,
        layout="constrained",
        height_ratios=heights,
        squeeze=False,
    )
    figure.suptitle(textwrap.fill(title, 84), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure, axes.ravel()


def shares(axes: Axes, label: str = "share of units") -> None:
    """An axis from none to all."""
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_ylabel(label)


def mark(axes: Sequence[Axes], words: Sequence[tuple[float, str, str]]) -> None:
    """Vertical lines through all panels, each (step, word, colour) named above the first; neighbours step aside."""
    low, high = axes[0].get_xlim()
    ends = [-1.0] * ROWS
    for step, word, colour in sorted(words):
        for one in axes:
            one.axvline(step, color=colour, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
        place = (step - low) / (high - low)
        row = next((i for i, end in enumerate(ends) if place >= end), ROWS - 1)
        ends[row] = place + (len(word) + 1) * LETTER
        axes[0].annotate(
            word, (step, 1), xycoords=("data", "axes fraction"), xytext=(-1, 2 + 10 * row), textcoords="offset points",
            color=colour, fontsize=8,
        )  # fmt: skip


def key(axes: Axes, **where: Any) -> None:
    """What is what, on a card of its own."""
    axes.legend(frameon=True, facecolor="white", framealpha=0.85, edgecolor="none", **where)


def save(figure: Figure, path: Path) -> None:
    """Write it without a date or a version, and forget it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
