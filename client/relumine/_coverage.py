"""What is seen of a model, and what is not and why: for the wire, for the page and for ``Monitor.coverage()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from relumine._compiled import Stance, has_stances
from relumine._discover import Names
from relumine._origin import SHARDED
from relumine._site import Site
from relumine.wire import Coverage, LayerInfo

COMPILED = "compiled: sampled steps run eagerly (torch.compiler.set_stance), with the last bits and the memory of eager"
HELPLESS = "compiled: this torch has no torch.compiler.set_stance (2.6); compiled parts are not seen"
SILENT = "fell silent: its module runs, the activation is no longer heard"


def describe(site: Site, steps: int) -> LayerInfo:
    """How a layer is observed after ``steps`` optimizer steps."""
    weight = getattr(site.producer, "weight", None)
    fan_in = weight[0].numel() if isinstance(weight, Tensor) and weight.dim() > 1 and not site.sharded else None
    missing = list(site.missing)
    if site.sharded:
        missing.append(SHARDED)
    if site.absent:
        missing.append(SILENT)
    return LayerInfo(
        layer_id=site.layer_id,
        name=site.name,
        units=site.units,
        activation=site.activation,
        can_die=site.can_die,
        unit_kind="channels" if site.channels_first and site.has_positions else "features",
        n_unit="positions" if site.flattened else "examples",
        split="none" if site.sharded else site.split,
        producer=site.producer_name,
        fan_in=fan_in,
        observed="tap" if site.activation == "tapped" else "function mode",
        sampled_share=min(1.0, site.looks / steps) if steps else None,
        missing=missing,
    )


def coverage_of(sites: Iterable[Site], names: Names, stance: Stance) -> Coverage:
    """How much of the model is seen, and which ReLU modules no training forward used."""
    seen = list(sites)
    watched = [site for site in seen if site.can_die]
    used = {site.place for site in seen}
    return Coverage(
        watched=len(watched),
        units=sum(site.units for site in watched),
        cannot_die=len(seen) - len(watched),
        unused=names.unused(used),
        remarks=[COMPILED if has_stances() else HELPLESS] if stance.used(names.modules()) else [],
    )


def as_rows(sites: Iterable[Site], names: Names, stance: Stance, steps: int) -> dict[str, dict[str, Any]]:
    """Every activation by its name: how it is observed, its split, its share of the steps, what is missing and why."""
    found = list(sites)
    rows = {site.name: describe(site, steps).model_dump() for site in found}
    whole = coverage_of(found, names, stance)
    for row in rows.values():
        row["missing"] += whole.remarks if row["can_die"] else []
    for name in whole.unused:
        rows[name] = {"units": None, "observed": "never", "missing": ["no training forward used it"]}
    return rows
