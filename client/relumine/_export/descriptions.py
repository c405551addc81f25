"""The descriptions of layers and of the model's coverage, and which of them the server has."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from relumine.schemas.upload import Coverage, LayerInfo


class Description(NamedTuple):
    """Descriptions of layers, and the coverage of the model, as one upload carries them."""

    layers: tuple[LayerInfo, ...] = ()
    coverage: Coverage | None = None


class Descriptions:
    """Everything described so far. Written by the training thread, read by the sender thread."""

    def __init__(self) -> None:
        # Reentrant: the SIGTERM handler may interrupt ``describe`` and close the run in the same thread.
        self._lock = threading.RLock()
        self._layers: dict[int, LayerInfo] = {}
        self._unacked: dict[int, LayerInfo] = {}
        self._coverage: Coverage | None = None
        self._acked_coverage: Coverage | None = None
        self._missed_at: int | None = None

    def describe(self, layers: Sequence[LayerInfo], coverage: Coverage) -> None:
        """Take new and changed descriptions, which are sent until an upload that carries them is acknowledged."""
        with self._lock:
            for layer in layers:
                if self._layers.get(layer.layer_id) != layer:
                    self._layers[layer.layer_id] = layer
                    self._unacked[layer.layer_id] = layer
            self._coverage = coverage

    @property
    def has_unsent(self) -> bool:
        """True if a layer was described that no acknowledged upload carried."""
        return bool(self._unacked)

    def unsent(self) -> Description:
        """Return what no acknowledged upload carried."""
        with self._lock:
            coverage = None if self._coverage is self._acked_coverage else self._coverage
            return Description(tuple(self._unacked[layer_id] for layer_id in sorted(self._unacked)), coverage)

    def all(self) -> Description:
        """Return everything."""
        with self._lock:
            return Description(tuple(self._layers[layer_id] for layer_id in sorted(self._layers)), self._coverage)

    def acknowledge(self, description: Description) -> None:
        """Stop sending what an upload described, except for what was described differently since."""
        with self._lock:
            for layer in description.layers:
                if self._unacked.get(layer.layer_id) == layer:
                    del self._unacked[layer.layer_id]
            if description.coverage is not None and self._coverage is description.coverage:
                self._acked_coverage = description.coverage

    def compare(self, known_layers: int) -> None:
        """Send everything again if the server knows fewer layers than were acknowledged: it was restored, perhaps.

        Once for each number that it reports, so that a server that cannot count costs little.
        """
        with self._lock:
            if known_layers >= len(self._layers) - len(self._unacked):
                self._missed_at = None
            elif known_layers != self._missed_at:
                self._missed_at = known_layers
                self._unacked = dict(self._layers)
                self._acked_coverage = None
