"""What all scripts here share: processor time of processes, rounds in alternating order, medians with their spread."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PARENT, SPENT = (
    1,
    slice(11, 15),
)  # fields of /proc/<pid>/stat behind the name; the latter of itself and of ended children


def tree_s(root: int) -> float:
    """Seconds of user and system time of a process and of all that it started, ended ones included. Linux only."""
    stats = dict(_stats())
    tree = {root}
    while grown := {pid for pid, stat in stats.items() if int(stat[PARENT]) in tree} - tree:
        tree |= grown
    return sum(int(ticks) for pid in tree & stats.keys() for ticks in stats[pid][SPENT]) * TICK_S


def _stats() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it ended meanwhile
                continue


def alternating(arms: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Every arm once a round, every second round in the opposite order."""
    for turn in range(rounds):
        for arm in arms if turn % 2 == 0 else arms[::-1]:
            yield turn, arm


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and greatest."""
    shown = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return "{} ({}–{})".format(*shown)
