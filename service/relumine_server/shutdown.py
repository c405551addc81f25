"""The end of a server: background work is asked to stop first and waited for last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Stop: TypeAlias = Callable[[float], None]
"""Asks background work to stop, and waits for it up to the given seconds."""

BACKGROUND_S = 4.0  # for all background work together, once no request is left


class Shutdown:
    """The state of the shutdown, and the background work to stop."""

    def __init__(self, *stops: Stop) -> None:
        self.has_begun = False
        self._stops = stops

    def begin(self) -> None:
        """Ask all background work to stop without waiting. From now on the server reports that it is not ready."""
        self.has_begun = True
        for stop in self._stops:
            stop(0.0)

    def finish(self) -> None:
        """Wait for all background work, up to ``BACKGROUND_S`` in total."""
        self.has_begun = True
        deadline = time.monotonic() + BACKGROUND_S
        for stop in self._stops:
            stop(max(deadline - time.monotonic(), 0.0))
