"""``relumine runs``: lists runs, newest first."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from relumine._cli.connection import connected
from relumine._cli.output import Cell, age, number_cell, print_json, print_line, print_table, word_cell
from relumine._cli.run_lookup import FIRST_RUN, title_of
from relumine.errors import ServerError

if TYPE_CHECKING:
    from relumine.client import Client
    from relumine.schemas.run import Layer, Run

DEAD_STATES = ("dead", "born_dead")


class LayerCounts(NamedTuple):
    """The layers of a run, and how many of them are dead or were born dead."""

    dead: int
    layers: int


def run_runs(options: argparse.Namespace) -> int:
    """Print the runs of a server; return the exit status."""
    with connected(options.url) as client:
        # A run more than is shown tells whether there are older ones.
        runs = list(client.runs(project=options.project, status=options.status, limit=options.limit + 1))
        shown = list(_with_layer_counts(client, runs[: options.limit]))
        if options.json:
            print_json([_as_dict(run, counts) for run, counts in shown])
        elif not shown:
            print_line(_empty(client, options))
        else:
            _print_runs(shown)
            if len(runs) > options.limit:
                print_line(f"There are older runs: --limit {10 * options.limit} shows more.")
    return 0


def _with_layer_counts(client: Client, runs: Sequence[Run]) -> Iterator[tuple[Run, LayerCounts]]:
    for run in runs:
        try:
            layers = client.layers(run.run_id)
        except ServerError as error:
            if error.code != "run_not_found":
                raise
            continue  # deleted since the list was read
        yield run, count_layers(layers)


def count_layers(layers: Sequence[Layer]) -> LayerCounts:
    """Return how many layers a run has, and how many of them are dead."""
    dead = [layer for layer in layers if layer.state in DEAD_STATES]
    return LayerCounts(len(dead), len(layers))


def health_of(run: Run) -> str | None:
    """Return the health of a run; None from a server that does not report it."""
    health = getattr(run, "health", None)
    return None if health is None else str(getattr(health, "status", health))


def health_reason_of(run: Run) -> str | None:
    """Return the reason for the health of a run in words; None where there is none."""
    reason = getattr(run, "health_reason", None) or getattr(getattr(run, "health", None), "reason", None)
    return str(reason) if reason else None


def _as_dict(run: Run, counts: LayerCounts) -> dict[str, Any]:
    return {**run.model_dump(mode="json"), "dead_layer_count": counts.dead, "layer_count": counts.layers}


def _print_runs(shown: Sequence[tuple[Run, LayerCounts]]) -> None:
    has_health = any(health_of(run) is not None for run, _ in shown)
    headings = ["HEALTH"] if has_health else []
    headings += ["STATUS", "RUN", "STEP", "DEAD LAYERS", "OPEN ALERTS", "STARTED", "ID"]
    rows = []
    for run, counts in shown:
        health = [word_cell(health_of(run) or "unknown")] if has_health else []
        rows.append([*health, word_cell(run.status), Cell(title_of(run)), *_numbers(run, counts)])
    print_table(headings, rows)


def _numbers(run: Run, counts: LayerCounts) -> list[Cell]:
    return [
        number_cell("-" if run.last_step is None else f"{run.last_step:,}"),
        Cell(f"{counts.dead} of {counts.layers}", "dead" if counts.dead else "", is_number=True),
        Cell(f"{run.open_alerts:,}", "warning" if run.open_alerts else "", is_number=True),
        Cell(age(run.started_at or run.created_at)),
        Cell(run.run_id),
    ]


def _empty(client: Client, options: argparse.Namespace) -> str:
    if options.project is not None or options.status is not None:
        return f"{client.url} has no such run. `relumine runs` without --project and --status lists all."
    return f"{client.url} has no runs. {FIRST_RUN}"
