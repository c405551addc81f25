"""Options of all commands that read stored runs. A held-out set is never read without an entry in its log."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from research.corpus.cases import Case
from research.corpus.catalogue import SPLITS
from research.corpus.collect import FOLDER, load_cases
from research.corpus.run_store import Run
from research.scoring.holdout_log import HELD_OUT, log_access


def corpus_parser(description: str | None, *, splits: Sequence[str] = SPLITS) -> argparse.ArgumentParser:
    """Return a command line with the options of a stored corpus; ``description`` is the command's docstring."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", choices=tuple(splits), default="tune")
    options.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--seeds", type=int, default=100, help="use at most so many seeds of the stored runs")
    add_reason(options)
    return options


def add_reason(options: argparse.ArgumentParser) -> None:
    """Add the option that a held-out set requires."""
    options.add_argument("--why", metavar="TEXT", help="who uses a held-out set, and what for")


def check_reason(options: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error if a held-out set is to be used without a reason."""
    if arguments.split in HELD_OUT and not arguments.why:
        options.error(f"the split {arguments.split} needs --why")


def parse(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line made by ``corpus_parser``."""
    namespace = options.parse_args(arguments)
    check_reason(options, namespace)
    return namespace


def load_pairs(arguments: argparse.Namespace) -> list[tuple[Run, Case]]:
    """Load the stored runs of a split with their cases; the access to a held-out set is logged first."""
    if arguments.split in HELD_OUT:
        log_access(arguments.why, arguments.split)
    pairs = load_cases(arguments.split, arguments.source, arguments.seeds)
    if not pairs:
        command = "python -m research.corpus.collect"
        raise SystemExit(f"no runs of the split {arguments.split} in {arguments.source}: train them with {command}")
    return pairs
