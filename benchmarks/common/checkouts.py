"""Programs of another checkout, to measure old code beside new code in turn."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def add_option(options: argparse.ArgumentParser) -> None:
    """Add ``--beside`` to a command line."""
    options.add_argument("--beside", type=Path, metavar="FOLDER", help="also measure the checkout in this folder")


def checkouts(beside: Path | None) -> Mapping[str, Path]:
    """Return the folders to measure by their name in the table."""
    return {"this": _ROOT} if beside is None else {"this": _ROOT, "the other": beside.resolve()}


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment of a program that imports the packages of a checkout."""
    folders = [checkout / "client", checkout / "service", checkout]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
