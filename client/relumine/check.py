"""A look at a model before it is trained: what can be seen of it, which units are silent, what nets like it risk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relumine._chains import Follower, chains
from relumine._cost import Cost
from relumine._coverage import as_rows
from relumine._discover import Names, named_models
from relumine._guard import Guard
from relumine._hints import Hint, of_bias, of_examples, of_inputs
from relumine._hooks import Hooks
from relumine._report import LayerCheck, Report, is_too_few
from relumine._risk import risks_of
from relumine._site import ROWS, Site, Snapshot
from relumine._untouched import untouched

ACTIVE, TOTAL = ROWS.index("active"), ROWS.index("total")


def check(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> Report:
    """Run one forward as training would, and report; the model, its buffers and the generators stay as they were.

    Chains of plain layers are also drawn anew, apart from the model, to say how many such nets would be born dead.

    Args:
        model: the module to look at.
        inputs: what its forward takes: a tensor, a tuple of arguments or a mapping of keyword arguments.
        include: glob patterns; only layers whose name matches one are reported.
        exclude: glob patterns of layers to leave out.

    Raises:
        ValueError: the inputs hold no example.
        And whatever the model's own forward raises.
    """
    models = named_models(model)
    names = Names(models, include, exclude)
    hooks = Hooks(names, Cost(), Guard(strict=True))
    follower = Follower()
    whole = next(iter(models.values())) if isinstance(model, nn.Module) else nn.ModuleDict(dict(model))
    with untouched(whole), torch.enable_grad():
        whole.train()
        hooks.arm(1)
        with follower:
            try:
                _call(whole, inputs)
            finally:
                hooks.disarm()
        with torch.no_grad():
            return _report(hooks, names, follower, inputs)


def _report(hooks: Hooks, names: Names, follower: Follower, inputs: Any) -> Report:
    rows = as_rows(hooks.sites.values(), names, hooks.stance, 1)
    taken = [(site, site.snapshot(1, None)) for site in hooks.sites.values()]
    layers = tuple(_layer(site, snapshot, rows[site.name]) for site, snapshot in taken)
    dying = [layer for layer in layers if layer.can_die]
    if dying and not any(layer.examples for layer in dying):
        raise ValueError("the inputs hold no example: no ReLU had anything to read")
    unused = tuple(name for name, row in rows.items() if row["observed"] == "never")
    plain = _plain(hooks.sites.values())
    found = [of_bias(site.name, snapshot) for site, snapshot in taken if site.can_die]
    found += [of_examples(one.name, one.examples) for one in layers if is_too_few(one)]
    hints: list[Hint] = [*of_inputs(follower.links, plain, inputs), *(one for one in found if one is not None)]
    return Report(layers, unused, risks_of(chains(follower.links, plain), plain), tuple(hints))


def _layer(site: Site, snapshot: Snapshot | None, row: Mapping[str, Any]) -> LayerCheck:
    return LayerCheck(
        site.name,
        site.activation,
        site.can_die,
        site.units,
        int((snapshot.matrix[ACTIVE] == 0).sum()) if snapshot else None,
        snapshot.examples if snapshot else 0,
        row["split"],
        row["producer"],
        tuple(row["missing"]),
        finite=bool(snapshot.matrix[TOTAL].isfinite().all()) if snapshot else True,
    )


def _plain(sites: Iterable[Site]) -> dict[int, str]:
    """Names of the activations behind layers that are known to be plain, by the id of the layer's weight."""
    names: dict[int, str] = {}
    for site in sites:
        if site.can_die and site.split == "linear" and not site.sharded:
            names.setdefault(id(getattr(site.producer, "weight", None)), site.name)
    return names


def _call(model: nn.Module, inputs: Tensor | tuple[Any, ...] | Mapping[str, Any]) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, tuple):
        model(*inputs)
    else:
        model(inputs)
