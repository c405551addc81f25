"""What every script that reads kept runs asks for, and how it gets them: what is held out never unnoticed."""

from __future__ import annotations

import argparse
from pathlib import Path

from cases import Case
from corpus import FOLDER, cases
from looks import HELD_OUT, note_look
from runs import Run


def parser(text: str | None, *, tune_only: bool = False) -> argparse.ArgumentParser:
    """The options that are common to them; ``text`` is the docstring of the script."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--half", choices=("tune",) if tune_only else ("tune", *HELD_OUT, "fresh"), default="tune")
    options.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--seeds", type=int, default=100, help="at most so many seeds of what was kept")
    options.add_argument("--why", help="who looks at a half that is held out, and what for")
    return options


def parsed(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; a half that is held out is not opened without a reason."""
    arguments = options.parse_args()
    if arguments.half in HELD_OUT and not arguments.why:
        options.error(f"the {arguments.half} half needs --why")
    return arguments


def known(arguments: argparse.Namespace) -> list[tuple[Run, Case]]:
    """The kept runs that were asked for, beside their truth. A look at a held-out half is noted first."""
    if arguments.half in HELD_OUT:
        note_look(arguments.why, arguments.half)
    found = cases(arguments.half, arguments.source, arguments.seeds)
    if not found:
        raise SystemExit(f"no runs of the {arguments.half} half in {arguments.source}: train them with corpus.py")
    return found
