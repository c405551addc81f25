"""Output to a terminal that others draw on too: colours where they are shown, whole lines beside tqdm and rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

RED = "31"
YELLOW = "33"
GREEN = "32"
DIM = "2"

COLOURS: Mapping[str, str] = {
    "critical": RED,
    "error": RED,
    "diverged": RED,
    "collapsed": RED,
    "damaged": RED,
    "failed": RED,
    "dead": RED,
    "born_dead": RED,
    "warning": YELLOW,
    "at_risk": YELLOW,
    "unwatched": YELLOW,
    "stalled": YELLOW,
    "dying": YELLOW,
    "healthy": GREEN,
    "info": DIM,
    "unknown": DIM,
    "waiting": DIM,
    "cannot_die": DIM,
}
"""Colours of severities, health and states by their names in the API. Other words have none."""


def is_coloured(stream: TextIO) -> bool:
    """Return True if a stream shows colours: a terminal, unless the environment says otherwise.

    NO_COLOR and FORCE_COLOR are obeyed in this order, as Python's own tracebacks do, then TERM=dumb. A notebook's
    kernel sets FORCE_COLOR by itself, and not everything that shows notebooks shows colours.
    """
    if os.environ.get("NO_COLOR") or is_notebook_stream(stream):
        return False
    if os.environ.get("FORCE_COLOR", "") not in ("", "0"):
        return True
    if os.environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    return sys.platform != "win32" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM"))


def coloured(text: str, name: str, stream: TextIO) -> str:
    """Return a text in the colour of a name of the API, where the stream shows colours."""
    code = COLOURS.get(name.lower().replace(" ", "_"))
    return f"\x1b[{code}m{text}\x1b[0m" if code and is_coloured(stream) else text


def is_notebook_stream(stream: object) -> bool:
    """Return True for the streams of a notebook, which shows everything on standard error as an error."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"


def write_line(stream: TextIO, line: str) -> None:
    """Write one whole line, above the progress bars of tqdm or the display of rich where there are any."""
    console = _rich_console(stream)
    if console is not None:
        from rich.text import Text  # noqa: PLC0415 - loaded already: its console took the stream over

        console.print(Text.from_ansi(line), soft_wrap=True)  # rich would cut addresses at the width of the terminal
        return
    with _without_bars(stream) as prefix:
        stream.write(f"{prefix}{line}\n")
        stream.flush()


def _rich_console(stream: object) -> Any | None:
    """Return the console of a running ``rich`` display that took the stream over."""
    module = sys.modules.get("rich.file_proxy")
    if module is None or not isinstance(stream, module.FileProxy):
        return None
    return getattr(stream, "_FileProxy__console", None)


@contextmanager
def _without_bars(stream: TextIO) -> Iterator[str]:
    """Yield what to write in front of a line, while no bar of tqdm is shown.

    In a terminal the bars are cleared, and drawn again after the block. Elsewhere, as in the log of a CI job, the line
    that a bar is on is ended.
    """
    bars = _bars_beside(stream)
    if not bars:
        yield ""
    elif not stream.isatty():
        yield "\n" if any(bar.fp == stream for bar in bars) else ""
    else:
        with sys.modules["tqdm.std"].tqdm.external_write_mode(file=stream):
            yield ""


def _bars_beside(stream: TextIO) -> list[Any]:
    """Return the bars that tqdm shows as text on this stream, or on the other of the two that a terminal shows."""
    tqdm = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    if tqdm is None or not _is_standard(stream):
        return []
    try:
        bars = list(tqdm._instances)  # noqa: SLF001 - as tqdm.write does
    except (AttributeError, RuntimeError):  # another version, or another thread creates one just now
        return []
    return [bar for bar in bars if hasattr(bar, "start_t") and not bar.gui and _is_standard(bar.fp)]


def _is_standard(stream: object) -> bool:
    return stream in (sys.stdout, sys.stderr)
