"""The coverage of a model: what is observed, what is not and why, for the wire and for ``Monitor.coverage()``."""

from __future__ import annotations

from typing import Any

from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.layer_sites import LayerSites
from relumine._capture.producers import SHARDED_WEIGHT
from relumine._runtime.sendable import sendable_name
from relumine._torch.compile import EagerStance, has_stances
from relumine.schemas.upload import Coverage, LayerInfo

COMPILED = "compiled: sampled steps run eagerly (torch.compiler.set_stance), with the last bits and the memory of eager"
NO_STANCES = "compiled: this torch has no torch.compiler.set_stance (2.6); compiled parts are not observed"
MISSING = "no longer observed: its module runs without calling the activation"
SCRIPTED = "not observed: a scripted or traced module makes no torch calls that could be seen"
UNUSED = "no training forward used it"


def layer_info(layer: LayerRecorder, steps: int) -> LayerInfo:
    """Describe how a layer is observed after ``steps`` optimizer steps."""
    missing = list(layer.missing)
    if layer.sharded:
        missing.append(SHARDED_WEIGHT)
    if layer.steps_missing:
        missing.append(MISSING)
    return LayerInfo(
        layer_id=layer.layer_id,
        name=layer.name,
        units=layer.units,
        activation=layer.activation,
        can_die=layer.can_die,
        unit_kind="channels" if layer.channels_first and layer.has_positions else "features",
        n_unit="positions" if layer.counts_positions else "examples",
        split="none" if layer.sharded else layer.split,
        producer=layer.producer_name,
        producer_type=_producer_type(layer),
        fan_in=None if layer.sharded else layer.fan_in,
        observed="tap" if layer.activation == "tapped" else "function mode",
        sampled_share=min(1.0, layer.sampled_steps / steps) if steps else None,
        missing=missing,
    )


def _producer_type(layer: LayerRecorder) -> str | None:
    """Return the class of the producer as its author wrote it: a parametrization replaces it by a class of its own."""
    if layer.producer is None or layer.producer_name is None:
        return None
    return sendable_name(type(layer.producer).__name__.removeprefix("Parametrized"))


def coverage_of(sites: LayerSites, stance: EagerStance) -> Coverage:
    """Return how much of the model is observed and what is not: ReLUs unseen, left out, or in no training forward."""
    layers = sites.layers.values()
    names = sites.names
    can_die = [layer for layer in layers if layer.can_die]
    remarks = []
    if stance.was_needed(names.modules()):
        remarks.append(COMPILED if has_stances() else NO_STANCES)
    return Coverage(
        watched=len(can_die),
        units=sum(layer.units for layer in can_die),
        cannot_die=len(layers) - len(can_die),
        unused=names.unused_relus({layer.module_id for layer in layers} | sites.modules_called),
        unseen={**sites.unseen, **dict.fromkeys(names.scripted(), SCRIPTED)},
        left_out=dict(sites.left_out),
        remarks=remarks,
    )


def coverage_table(sites: LayerSites, stance: EagerStance, steps: int) -> dict[str, dict[str, Any]]:
    """Return one row per activation, by name: how it is observed, its split, its share of the steps, what is missing.

    Activations that are not observed or no layers, and ReLU modules that no training forward used, have a row too.
    """
    coverage = coverage_of(sites, stance)
    rows: dict[str, dict[str, Any]] = {}
    for layer in sites.layers.values():
        row = layer_info(layer, steps).model_dump()
        if layer.can_die:
            row["missing"] += coverage.remarks
        rows[layer.name] = row
    for name, reason in (coverage.unseen | coverage.left_out).items():
        rows.setdefault(name, {"units": None, "observed": "not", "missing": [reason]})
    for name in coverage.unused:
        rows[name] = {"units": None, "observed": "never", "missing": [UNUSED]}
    return rows
