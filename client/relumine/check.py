"""A look at a model before it is trained: what can be seen of it, and which units its first batch leaves silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relumine._cost import Cost
from relumine._coverage import as_rows
from relumine._discover import Names, named_models
from relumine._guard import Guard
from relumine._hooks import Hooks


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One activation. ``silent`` is how many of its units were active on no example; None where none can die."""

    name: str
    activation: str
    can_die: bool
    units: int
    silent: int | None
    examples: int
    split: str
    producer: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What ``check`` found: the layers in order of use, and ReLU modules that the forward never used."""

    layers: tuple[LayerCheck, ...]
    unused: tuple[str, ...]

    @property
    def units(self) -> int:
        """Units that can die."""
        return sum(layer.units for layer in self.layers if layer.can_die)

    def __str__(self) -> str:
        can_die = [layer for layer in self.layers if layer.can_die]
        lines = [f"{len(can_die)} ReLUs with {self.units:,} units, {len(self.layers) - len(can_die)} that cannot die"]
        lines += [_line(layer) for layer in self.layers]
        lines += [f"  {name}: never used" for name in self.unused]
        return "\n".join(lines)


def check(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> Report:
    """Run one forward as training would, and report; the model, its buffers and the generators stay as they were.

    Args:
        model: the module to look at.
        inputs: what its forward takes: a tensor, a tuple of arguments or a mapping of keyword arguments.
        include: glob patterns; only layers whose name matches one are reported.
        exclude: glob patterns of layers to leave out.

    Raises:
        Whatever the model's own forward raises.
    """
    models = named_models(model)
    names = Names(models, include, exclude)
    hooks = Hooks(names, Cost(), Guard(strict=True))
    whole = next(iter(models.values())) if isinstance(model, nn.Module) else nn.ModuleDict(dict(model))
    with _untouched(whole), torch.enable_grad():
        whole.train()
        hooks.arm(1)
        try:
            _call(whole, inputs)
        finally:
            hooks.disarm()
        with torch.no_grad():
            return _report(hooks, names)


def _report(hooks: Hooks, names: Names) -> Report:
    rows = as_rows(hooks.sites.values(), names, hooks.stance, 1)
    layers = []
    for site in hooks.sites.values():
        snapshot, row = site.snapshot(1, None), rows[site.name]
        layers.append(
            LayerCheck(
                site.name,
                site.activation,
                site.can_die,
                site.units,
                int((snapshot.matrix[0] == 0).sum()) if snapshot else None,
                snapshot.examples if snapshot else 0,
                row["split"],
                row["producer"],
                tuple(row["missing"]),
            )
        )
    return Report(tuple(layers), tuple(name for name, row in rows.items() if row["observed"] == "never"))


def _call(model: nn.Module, inputs: Tensor | tuple[Any, ...] | Mapping[str, Any]) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, tuple):
        model(*inputs)
    else:
        model(inputs)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Give back modes, buffers (BatchNorm's running statistics) and the state of the random generators."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])


def _line(layer: LayerCheck) -> str:
    if not layer.can_die:
        return f"  {layer.name}: {layer.activation}, cannot die"
    seen = f"{layer.silent} of {layer.units} units silent on {layer.examples} examples"
    missing = f"; not known: {', '.join(layer.missing)}" if layer.missing else ""
    return f"  {layer.name}: {layer.activation} after {layer.producer or 'an unknown layer'}, {seen}{missing}"
