"""``relumine alerts``: lists alerts, the most severe first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from relumine._cli.connection import connected
from relumine._cli.output import Cell, age, number_cell, print_json, print_line, print_table, word_cell
from relumine._cli.run_lookup import find_run, title_of

if TYPE_CHECKING:
    from relumine.client import Client
    from relumine.schemas.alert import Alert
    from relumine.schemas.run import Run


def run_alerts(options: argparse.Namespace) -> int:
    """Print the alerts of a run, or of all runs; return the exit status."""
    with connected(options.url) as client:
        run = None if options.run is None else find_run(client, options.run)
        # One alert more than is shown tells whether there are others.
        alerts = _most_severe(client, run, options.limit + 1, is_all=options.all)
        shown = alerts[: options.limit]
        if options.json:
            print_json([alert.model_dump(mode="json") for alert in shown])
        elif not shown:
            print_line(_empty(client, run, is_all=options.all))
        else:
            _print_alerts(shown)
            if len(alerts) > options.limit:
                print_line(f"There are more alerts: --limit {10 * options.limit} shows more.")
    return 0


def _most_severe(client: Client, run: Run | None, limit: int, *, is_all: bool) -> list[Alert]:
    """Return alerts by severity, the newest of each first. The server filters, so that old open ones are not missed."""
    from relumine.schemas.alert import SEVERITIES

    run_id = None if run is None else run.run_id
    state = None if is_all else "open"
    alerts: list[Alert] = []
    for severity in reversed(SEVERITIES):
        alerts += client.alerts(run_id=run_id, state=state, severity=severity, limit=limit)
        if len(alerts) >= limit:
            break
    return alerts[:limit]


def _print_alerts(alerts: list[Alert]) -> None:
    rows = [
        [
            word_cell(alert.severity),
            word_cell(alert.state),
            Cell(f"{alert.project}/{alert.run.name or alert.run_id}"),
            Cell(alert.title),
            number_cell(f"{alert.opened_step:,}"),
            Cell(age(alert.opened_at)),
        ]
        for alert in alerts
    ]
    print_table(["SEVERITY", "STATE", "RUN", "ALERT", "STEP", "OPENED"], rows)
    print_line("`relumine report RUN` prints the causes and what to do.")


def _empty(client: Client, run: Run | None, *, is_all: bool) -> str:
    where = client.url if run is None else title_of(run)
    if is_all:
        return f"{where} has no alerts."
    all_option = "" if run is None else f" {run.run_id}"
    return f"{where} has no open alerts. `relumine alerts{all_option} --all` lists ended and resolved ones too."
