"""The style of the figures: few muted colours on white; the same drawing gives the same bytes.

SVG keeps text as text: figures stay small, and the reader's own sans serif is used.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2328"
QUIET = "#6e7781"
SHADE = "#d0d7de"
RED = "#c4321c"
BLUE = "#0b62b8"
AMBER = "#b87503"
GREEN = "#2f7d4f"
LABEL_ROWS = 3
"""Rows of labels above a panel."""
LETTER_WIDTH = 0.0105
"""Width of a letter of a label as a share of the panel's width."""
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
    """Return a figure and its panels; ``heights`` in inches, panels above each other share the step axis."""
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


def use_share_axis(axes: Axes, label: str = "share of units") -> None:
    """Scale the y axis from 0 to 1."""
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_ylabel(label)


def mark_steps(axes: Sequence[Axes], labels: Sequence[tuple[float, str, str]]) -> None:
    """Draw vertical lines through all panels, each (step, text, colour) labelled above the first without overlap."""
    low, high = axes[0].get_xlim()
    row_ends = [-1.0] * LABEL_ROWS
    for step, text, colour in sorted(labels):
        for panel in axes:
            panel.axvline(step, color=colour, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
        position = (step - low) / (high - low)
        row = next((index for index, end in enumerate(row_ends) if position >= end), LABEL_ROWS - 1)
        row_ends[row] = position + (len(text) + 1) * LETTER_WIDTH
        axes[0].annotate(
            text,
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-1, 2 + 10 * row),
            textcoords="offset points",
            color=colour,
            fontsize=8,
        )


def add_legend(axes: Axes, location: Literal["upper left", "center right"]) -> None:
    """Add a legend on a white card."""
    axes.legend(loc=location, frameon=True, facecolor="white", framealpha=0.85, edgecolor="none")


def save(figure: Figure, path: Path) -> None:
    """Write a figure without a date or a version, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
