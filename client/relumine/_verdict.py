"""The two lines a person reads: one when watching begins, one when it ends. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from relumine._site import Site
from relumine.views import Alert


def opening(sites: Iterable[Site], relu_modules: Sequence[str], label: str, url: str) -> str:
    """What is seen, of how much, and where to look."""
    seen = list(sites)
    dying = [site for site in seen if site.can_die]
    if seen and not dying:
        return f"{len(seen)} activations seen, none of them can die: nothing to watch in {label}"
    if not seen:
        return f"no activation was seen in the first step of {label}: is the model called, in training mode?"
    units = sum(site.units for site in dying)
    used = {site.name.partition("#")[0] for site in seen}
    idle = sum(path not in used for path in relu_modules)
    return f"{len(dying)}/{len(dying) + idle} ReLUs, {units:,} units, watching {label} at {url}"


def closing(label: str, alerts: Sequence[Alert], stats: dict[str, Any], url: str) -> str:
    """What became of the units, or that nobody could tell."""
    if stats.get("kept") and not stats.get("acknowledged"):
        return f"{label}: the server was not reached, {stats['kept']} records are kept on disk"
    if not stats.get("uploads") or not stats.get("acknowledged"):
        return f"{label}: nothing was received, so nothing can be said ({stats.get('samples', 0)} samples taken)"
    lost = sum(stats["dropped"].values()) + stats["waiting"]
    note = f"; {lost} records were not delivered" if lost else ""
    told = [alert for alert in alerts if alert.severity != "info"]
    if not told:
        return f"{label}: no layer was lost, {stats['samples']} of {stats['steps']} steps looked at{note}. {url}"
    worst = [_in_words(alert) for alert in told]
    return f"{label}: {len(told)} alert{'s' if len(told) > 1 else ''}: {', '.join(worst[:5])}{note}. {url}"


def _in_words(alert: Alert) -> str:
    return f"{alert.layer or 'the run'} {alert.kind.replace('_', ' ')} (step {alert.opened_step:,}, {alert.state})"
