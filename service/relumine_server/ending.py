"""How a server ends: those who work in the background are told first, and are waited for at the very end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Stop: TypeAlias = Callable[[float], None]
"""Tells somebody to stop, and waits so many seconds for it."""

BACKGROUND_S = 4.0  # for what works in the background, all of it together, once no request is left


class Ending:
    """Whether the end has begun, and who has to know."""

    def __init__(self, *stops: Stop) -> None:
        self.has_begun = False
        self._stops = stops

    def begin(self) -> None:
        """Tell everybody, wait for nobody. From now on the server says that it is not ready."""
        self.has_begun = True
        for stop in self._stops:
            stop(0.0)

    def finish(self) -> None:
        """Wait for everybody, for a few seconds in all."""
        self.has_begun = True
        until = time.monotonic() + BACKGROUND_S
        for stop in self._stops:
            stop(max(until - time.monotonic(), 0.0))
