"""``relumine runs``: lists runs, newest first unless another order is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relumine._cli.connection import connected
from relumine._cli.output import Cell, age, number_cell, print_json, print_line, print_table, word_cell
from relumine._cli.run_lookup import FIRST_RUN, title_of

if TYPE_CHECKING:
    from relumine.client import Client
    from relumine.schemas.run import Run

HEADINGS = ("HEALTH", "STATUS", "RUN", "STEP", "DEAD LAYERS", "OPEN ALERTS", "STARTED", "ID")
FILTERS = ("project", "group", "status", "health", "tag", "q")


def run_runs(options: argparse.Namespace) -> int:
    """Print the runs of a server; return the exit status."""
    filters = {name: getattr(options, name) for name in FILTERS}
    with connected(options.url) as client:
        # A run more than is shown tells whether there are others.
        runs = list(client.runs(**filters, sort=options.sort, limit=options.limit + 1))
        shown = runs[: options.limit]
        if options.json:
            print_json([run.model_dump(mode="json") for run in shown])
        elif not shown:
            print_line(_empty(client, is_filtered=any(filters.values())))
        else:
            _print_runs(shown)
            if len(runs) > options.limit:
                print_line(f"There are more runs: --limit {10 * options.limit} shows more.")
    return 0


def _print_runs(runs: Sequence[Run]) -> None:
    print_table(list(HEADINGS), [_row(run) for run in runs])


def _row(run: Run) -> list[Cell]:
    return [
        word_cell(run.health),
        word_cell(run.status),
        Cell(title_of(run)),
        number_cell("-" if run.last_step is None else f"{run.last_step:,}"),
        Cell(f"{run.layers_dead} of {run.layers}", "dead" if run.layers_dead else "", is_number=True),
        Cell(f"{run.open_alerts:,}", "warning" if run.open_alerts else "", is_number=True),
        Cell(age(run.started_at or run.created_at)),
        Cell(run.run_id),
    ]


def _empty(client: Client, *, is_filtered: bool) -> str:
    if is_filtered:
        return f"No run of {client.url} matches these filters. `relumine runs` lists all."
    return f"{client.url} has no runs. {FIRST_RUN}"
