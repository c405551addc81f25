"""``relumine report``: prints the state of a run, its layers and its incidents."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relumine._cli.connection import connected
from relumine._cli.output import (
    Cell,
    age,
    bold,
    coloured,
    number_cell,
    percent,
    print_json,
    print_line,
    print_table,
    word_cell,
    words,
)
from relumine._cli.run_lookup import find_run, title_of
from relumine._runtime.text import plural
from relumine.schemas.printable import printable

if TYPE_CHECKING:
    from relumine.schemas.chart import Overview
    from relumine.schemas.incident import Incident
    from relumine.schemas.run import Layer

# Layers and incidents that are printed without --all.
MAX_SHOWN = 20

# Incidents that are read without --all.
MAX_READ = 200

STATES = ("open", "ended", "resolved")
"""States of incidents, in the order in which they are printed."""
WORST_FIRST = ("diverged", "born_dead", "dead", "dying")
"""States of layers with a problem. All others follow in the order of the server: by risk."""


def run_report(options: argparse.Namespace) -> int:
    """Print the report of a run; return the exit status."""
    with connected(options.url) as client:
        view = client.overview(find_run(client, options.run).run_id)
        incidents = list(client.incidents(run_id=view.run.run_id, limit=None if options.all else MAX_READ))
        if options.json:
            print_json(_as_dict(view, incidents))
            return 0
        page = f"{client.url}/#/runs/{view.run.run_id}"
    _print_summary(view, page)
    limit = None if options.all else MAX_SHOWN
    _print_layers(_worst_first(view.layers), limit)
    _print_incidents(sorted(incidents, key=lambda incident: STATES.index(incident.state)), limit)
    return 0


def _as_dict(view: Overview, incidents: Sequence[Incident]) -> dict[str, Any]:
    report = view.model_dump(mode="json", exclude={"traces", "run_trace"})
    report["layers"] = [layer.model_dump(mode="json") for layer in _worst_first(view.layers)]
    report["incidents"] = [incident.model_dump(mode="json") for incident in incidents]
    return report


def _print_summary(view: Overview, page: str) -> None:
    run = view.run
    health = coloured(printable(words(run.health)), run.health)
    print(f"{bold(printable(title_of(run)))}  {health}  {run.status}  step {view.last_step or 0:,}")
    if run.health_reason:
        print_line(f"  {run.health_reason}")
    print_line(
        f"  {run.layers_dead:,} of {plural(run.layers, 'layer')} dead, {plural(run.open_alerts, 'open alert')}, "
        f"started {age(run.started_at or run.created_at)}"
    )
    print_line(f"  {page}")


def _worst_first(layers: Sequence[Layer]) -> list[Layer]:
    """Sort layers by their state, and those of one state by the share of units that are lost."""

    def rank(layer: Layer) -> tuple[int, float]:
        if layer.state not in WORST_FIRST:
            return len(WORST_FIRST), 0.0
        lost = (layer.dead_fraction or 0.0) + (layer.born_dead_fraction or 0.0)
        return WORST_FIRST.index(layer.state), -lost

    return sorted(layers, key=rank)


def _print_layers(layers: Sequence[Layer], limit: int | None) -> None:
    print()
    if not layers:
        print_line("No layer has been recorded yet.")
        return
    print_table(["STATE", "LAYER", "UNITS", "DEAD", "BORN DEAD", "DYING"], [_row(layer) for layer in layers[:limit]])
    if limit is not None and len(layers) > limit:
        print_line(f"and {len(layers) - limit:,} layers in a better state: --all prints them")


def _row(layer: Layer) -> list[Cell]:
    fractions = (layer.dead_fraction, layer.born_dead_fraction, layer.dying_fraction)
    shares = [number_cell(percent(fraction)) for fraction in fractions]
    return [word_cell(layer.state), Cell(layer.label), number_cell(f"{layer.units:,}"), *shares]


def _print_incidents(incidents: Sequence[Incident], limit: int | None) -> None:
    print()
    if not incidents:
        print_line("No alert was raised.")
    for incident in incidents[:limit]:
        word = incident.severity.upper()
        text = printable(incident.message.removeprefix(f"{word} "))
        print(f"{coloured(word, incident.severity)} [{incident.state}] {text}")
    if limit is not None and len(incidents) > limit:
        print_line(f"and {len(incidents) - limit:,} more incidents: --all prints them")
