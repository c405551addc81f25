"""The arms of the comparison: the same training unwatched, watched, and counted below autograd, from the same seeds."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import relumine
from benchmarks.frameworks.relu_counts import ActiveCounts, ReluCounter, Site
from benchmarks.frameworks.training import CountStep, Model, Trained, Training, by_name
from relumine.testing import InMemoryTransport


@dataclass(frozen=True)
class EndState:
    """Everything that watching must not change: parameters and buffers as bytes, random generators, and losses."""

    tensors: dict[str, bytes]
    generators: tuple[object, ...]
    losses: list[float]
    steps: int

    @classmethod
    def of(cls, trained: Trained) -> EndState:
        """Return the state at the end of a training."""
        tensors = {}
        for name, model in by_name(trained.model).items():
            for path, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensors[f"{name}.{path}"] = tensor.detach().numpy().tobytes()
        numpy_state = np.random.get_state()  # noqa: NPY002 - the frameworks draw from the global generator
        generators = (torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(numpy_state))
        return cls(tensors, generators, trained.losses, trained.steps)

    def difference(self, other: EndState) -> str | None:
        """Return in words what differs, or None if nothing does."""
        names = [name for name in self.tensors if self.tensors[name] != other.tensors.get(name)]
        if names:
            return f"{len(names)} of {len(self.tensors)} tensors differ, {names[0].lstrip('.')} first"
        if self.losses != other.losses:
            return "losses differ"
        return None if self.generators == other.generators else "random generators differ"


class BareArm:
    """The training as it is."""

    def observe(self, _model: Model, _optimizer: Any) -> CountStep:
        """Do nothing."""
        return lambda: None

    def end(self) -> None:
        """Do nothing."""


@dataclass
class WatchedArm:
    """The training watched by Relumine; ``every`` as for ``relumine.watch``.

    Attributes:
        active: the active positions and examples that were recorded, by site.
        layers: the number of layers that can die.
        stats: the monitor's statistics.
        health: its health when the training ended.
        coverage: its coverage.
    """

    every: int | None
    active: dict[Site, ActiveCounts] = field(default_factory=dict)
    layers: int = 0
    stats: dict[str, Any] = field(default_factory=dict)
    health: str = ""
    coverage: dict[str, dict[str, Any]] = field(default_factory=dict)
    _memory: InMemoryTransport = field(default_factory=InMemoryTransport)
    _monitor: relumine.Monitor | None = None
    _paths: set[str] = field(default_factory=set)

    def observe(self, model: Model, optimizer: Any) -> CountStep:
        """Watch the model."""
        for name, module in by_name(model).items():
            self._paths |= {".".join(part for part in (name, path) if part) for path, _ in module.named_modules()}
        with self._memory:
            self._monitor = relumine.watch(model, optimizer, every=self.every)
        return self._monitor.step

    def end(self) -> None:
        """Close the monitor and read what it recorded."""
        if self._monitor is None:
            return
        self._monitor.flush(60)
        health = self._monitor.health()
        self.health = health.status if health.reason is None else f"{health.status}: {health.reason}"
        self._monitor.close(60)
        self.stats = self._monitor.sdk_stats()
        self.coverage = self._monitor.coverage()
        for name, row in self.coverage.items():
            if row.get("can_die") and row["observed"] != "not":
                self.layers += 1
                self._add_records(name, row["units"])

    def _add_records(self, name: str, units: int) -> None:
        counts = self.active.setdefault((self._module_path(name), units), ActiveCounts.of(units))
        for record in self._memory.records(name):
            arrays = record.arrays()
            counts.examples += torch.from_numpy(arrays["active"].astype(np.int64))
            positions = arrays.get("active_positions", arrays["active"])
            counts.positions += torch.from_numpy(positions.astype(np.int64))

    def _module_path(self, layer: str) -> str:
        """Return the path of the module in which a layer acts, from its name: ``act``, ``block.relu#2``."""
        path = layer.partition("@")[0].partition("#")[0]
        return path if path in self._paths else path.rpartition(".")[0]


class CountedArm:
    """The training with an independent count of its active units."""

    def __init__(self) -> None:
        self.counter: ReluCounter | None = None

    def observe(self, model: Model, _optimizer: Any) -> CountStep:
        """Count from now on."""
        self.counter = ReluCounter(by_name(model))
        return lambda: None

    def end(self) -> None:
        """Stop counting."""
        if self.counter is not None:
            self.counter.stop()


def run(training: Training, arm: BareArm | WatchedArm | CountedArm) -> EndState:
    """Run the training in one arm, silently, from fixed seeds."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the frameworks draw from the global generator
    torch.manual_seed(0)
    with _silence():
        try:
            return EndState.of(training(arm.observe))
        finally:
            arm.end()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide what the frameworks print, log and warn of."""
    silent = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
