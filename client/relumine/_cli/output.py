"""Output of the commands: lines that are safe to print, tables, colours and times. Only terminals get colours."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from relumine._runtime import terminal
from relumine._runtime.terminal import is_coloured
from relumine.schemas.printable import printable

# The longest text of a cell on a terminal. Elsewhere nothing is cut.
MAX_CELL = 60

BOLD = "1"


class Cell(NamedTuple):
    """A text of a table. ``word`` is the name in the API that decides on its colour."""

    text: str
    word: str = ""
    is_number: bool = False


def word_cell(word: str) -> Cell:
    """Return a word of the API as a cell: ``at_risk`` reads "at risk"."""
    return Cell(words(word), word)


def number_cell(number: object) -> Cell:
    """Return a cell that is aligned to the right."""
    return Cell(str(number), is_number=True)


def words(name: str) -> str:
    """Return a name of the API as words."""
    return name.replace("_", " ")


def bold(text: str) -> str:
    """Return a text in bold where standard output shows it. ``text`` is already printable."""
    return f"\x1b[{BOLD}m{text}\x1b[0m" if is_coloured(sys.stdout) else text


def coloured(text: str, name: str) -> str:
    """Return a text in the colour of a name of the API where standard output shows colours."""
    return terminal.coloured(text, name, sys.stdout)


def print_line(line: object) -> None:
    """Print a line with text of others: it must not steer the terminal."""
    print(printable(line))


def print_error(sentence: object) -> None:
    """Print a sentence on standard error."""
    print(f"relumine: {printable(sentence)}", file=sys.stderr)


def print_error_line(line: object) -> None:
    """Print a line that belongs to an error."""
    print(printable(line), file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value as JSON in ASCII."""
    print(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows in aligned columns below their headings."""
    limit = MAX_CELL if sys.stdout.isatty() else None
    texts = [[_shortened(printable(cell.text), limit) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headings, *texts, strict=True)]
    aligned = [row[column].is_number for row in rows[:1] for column in range(len(headings))]
    titles = [_padded(text, widths[i], is_right=aligned[i]) for i, text in enumerate(headings)]
    print(bold("  ".join(titles).rstrip()))
    for row, row_texts in zip(rows, texts, strict=True):
        cells = []
        for cell, text, width in zip(row, row_texts, widths, strict=True):
            cells.append(coloured(_padded(text, width, is_right=cell.is_number), cell.word))
        print("  ".join(cells).rstrip())


def _padded(text: str, width: int, *, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)


def _shortened(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def percent(fraction: float | None) -> str:
    """Return a share such as ``12.5%``; a dash where it was not measured."""
    return "-" if fraction is None else f"{fraction:.1%}"


def age(time: str | None, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was; the text itself where it cannot be read."""
    if time is None:
        return "-"
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time
    if moment.tzinfo is None:
        return time
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds > -60 else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
