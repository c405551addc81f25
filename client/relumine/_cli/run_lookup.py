"""Finds the run that a person means: by id, by the beginning of an id, by name, or by project/name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relumine._cli.connection import CommandError
from relumine._cli.output import age
from relumine.errors import ServerError

if TYPE_CHECKING:
    from relumine.client import Client
    from relumine.schemas.run import Run

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

# Runs that are searched by name, newest first.
MAX_SEARCHED = 10_000

# Runs that are listed where several match, and where none does.
MAX_CANDIDATES = 20
NEWEST = 3

FIRST_RUN = "`relumine.watch(model, optimizer)` in a training creates one, `relumine sync` sends one that was offline."


class RunNotFoundError(CommandError):
    """No run or several match; ``candidates`` are the lines to print below the sentence."""

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        super().__init__(message)
        self.candidates = candidates


def find_run(client: Client, text: str) -> Run:
    """Return the run that a text means. An id comes first, then a name, then the beginning of an id.

    Raises RunNotFoundError.
    """
    run = _run_of_id(client, text)
    if run is not None:
        return run
    named: list[Run] = []
    by_prefix: list[Run] = []
    newest: list[Run] = []
    searched = 0
    for listed in client.runs(limit=MAX_SEARCHED):
        searched += 1
        if len(newest) < NEWEST:
            newest.append(listed)
        if text in (listed.name, f"{listed.project}/{listed.name}", f"{listed.project}/{listed.run_id}"):
            named.append(listed)
        elif text and listed.run_id.startswith(text):
            by_prefix.append(listed)
    matches = named or by_prefix
    if not matches:
        raise _unknown(client.url, text, newest, is_cut=searched == MAX_SEARCHED)
    if len(matches) > 1:
        raise _ambiguous(text, matches)
    return matches[0]


def _run_of_id(client: Client, text: str) -> Run | None:
    if not RUN_ID.fullmatch(text):
        return None
    try:
        return client.run(text)
    except ServerError as error:
        if error.code != "run_not_found":
            raise
    return None


def _ambiguous(text: str, matches: Sequence[Run]) -> RunNotFoundError:
    lines = [_line(run) for run in itertools.islice(matches, MAX_CANDIDATES)]
    if len(matches) > MAX_CANDIDATES:
        lines.append(f"and {len(matches) - MAX_CANDIDATES:,} older runs")
    return RunNotFoundError(f"{len(matches):,} runs match {text!r}. Name one by its id:", lines)


def _unknown(url: str, text: str, newest: Sequence[Run], *, is_cut: bool) -> RunNotFoundError:
    if not newest:
        return RunNotFoundError(f"{url} has no run {text!r}: it has no runs at all. {FIRST_RUN}", [])
    searched = f" among its newest {MAX_SEARCHED:,} runs" if is_cut else ""
    lines = [_line(run) for run in newest]
    return RunNotFoundError(f"{url} has no run {text!r}{searched}. `relumine runs` lists all; the newest:", lines)


def _line(run: Run) -> str:
    return f"{run.run_id}  {title_of(run)}  {age(run.started_at or run.created_at)}"


def title_of(run: Run) -> str:
    """Return the project and the name of a run; the id where it has no name."""
    return f"{run.project}/{run.name or run.run_id}"
