"""The monitor of a process that does not watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relumine._capture.step_stats import Number
from relumine._monitor.monitor import Monitor
from relumine._runtime.settings import Settings
from relumine.schemas.alert import Alert
from relumine.schemas.health import Health
from relumine.schemas.upload import FinalStatus, RunInfo

if TYPE_CHECKING:
    from torch import Tensor


class NoOpMonitor(Monitor):
    """The monitor of a process that does not watch: with ``mode="disabled"``, or in any rank but 0.

    With several processes rank 0 watches for all: the statistics of its share of the data are a fair sample.
    """

    def __init__(self, run: RunInfo, settings: Settings) -> None:
        self._run = run
        self._settings = settings

    @property
    def run_id(self) -> str:
        """The run's id where one was given; else empty: this process has no run, and does not know that of rank 0."""
        return self._settings.run_id or ""

    @property
    def url(self) -> str:
        """The run's page where its id was given, else empty."""
        return super().url if self.run_id else ""

    def log(self, numbers: Mapping[str, Number] | None = None, step: int | None = None, **named: Number) -> None:
        """Do nothing."""

    def step(self) -> None:
        """Do nothing."""

    def mark(self, name: str) -> None:
        """Do nothing."""

    def tap(self, name: str, z: Tensor, threshold: float | Tensor = 0.0, mask: Tensor | None = None) -> None:
        """Do nothing."""

    def health(self) -> Health:
        """Return ``unknown``: this process does not watch."""
        return Health(status="unknown", reason="this process does not watch")

    def metrics(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def alerts(self) -> list[Alert]:
        """Return nothing."""
        return []

    def coverage(self) -> dict[str, dict[str, Any]]:
        """Return nothing."""
        return {}

    def sdk_stats(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def flush(self, timeout: float = 10.0) -> bool:
        """Return True: there is nothing to wait for."""
        del timeout
        return True

    def close(self, timeout: float = 10.0, final_status: FinalStatus = "finished") -> None:
        """Do nothing."""
