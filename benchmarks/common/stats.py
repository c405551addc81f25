"""Processor time of processes (Linux), rounds in alternating order, and medians with their range."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TICK_S = 1 / os.sysconf("SC_CLK_TCK")

# Positions in /proc/<pid>/stat behind the process name (see proc(5)).
PARENT = 1
CPU_TIMES = slice(11, 13)
CPU_TIMES_WITH_ENDED_CHILDREN = slice(11, 15)


def cpu_s(pid: int, *, ended_children: bool = False) -> float:
    """Return the user and system seconds of a process, in ticks of 10 ms on most machines; 0 if it has ended."""
    try:
        fields = _stat_fields(Path("/proc", str(pid)))
    except OSError:
        return 0.0
    times = fields[CPU_TIMES_WITH_ENDED_CHILDREN if ended_children else CPU_TIMES]
    return sum(map(int, times)) * TICK_S


def children(pid: int) -> list[int]:
    """Return the ids of the running processes that a process started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def tree_cpu_s(root: int) -> float:
    """Return the user and system seconds of a process and of all its descendants, ended ones included."""
    stats = dict(_all_stat_fields())
    tree = {root}
    while grown := {pid for pid, fields in stats.items() if int(fields[PARENT]) in tree} - tree:
        tree |= grown
    ticks = 0
    for pid in tree & stats.keys():
        ticks += sum(map(int, stats[pid][CPU_TIMES_WITH_ENDED_CHILDREN]))
    return ticks * TICK_S


def _all_stat_fields() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), _stat_fields(folder)
            except OSError:  # the process ended meanwhile
                continue


def _stat_fields(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()


def alternating(arms: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Yield (round, arm) for every arm once a round, every second round in the opposite order."""
    for round_number in range(rounds):
        for arm in arms if round_number % 2 == 0 else arms[::-1]:
            yield round_number, arm


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios round by round."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def median_range(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the least and greatest value as text."""
    numbers = (statistics.median(values), min(values), max(values))
    median, least, greatest = (f"{number:,.{digits}f}" for number in numbers)
    return f"{median} ({least}–{greatest})"
