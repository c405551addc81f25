"""uvicorn's server with an orderly end: not ready first, then no new connections, then the last requests, then exit."""

from __future__ import annotations

import os
import threading
import time
from types import FrameType

import structlog
import uvicorn

from relumine_server.shutdown import BACKGROUND_S, Shutdown

REQUESTS_S = 5.0  # for requests in flight once the port is closed
LAST_RESORT_S = REQUESTS_S + BACKGROUND_S + 2.5  # after which the process exits, whatever hangs

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """A server that after a signal reports "not ready" for ``drain_s``, closes its port, finishes and exits with 0."""

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown, drain_s: float) -> None:
        super().__init__(config)
        self._shutdown = shutdown
        self._drain_s = drain_s
        self._stop_requested = False
        self._close_port_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a signal handler
        """Note the signal only: it may arrive at any moment, while any lock is held."""
        self.force_exit = self._stop_requested and self.should_exit
        self._stop_requested = True

    async def on_tick(self, counter: int) -> bool:
        """Return True when it is time to close the port."""
        if self._stop_requested and self._close_port_at is None:
            self._close_port_at = time.monotonic() + self._drain_s
            self._shutdown.begin()
            _exit_after(self._drain_s + LAST_RESORT_S)
        if self._close_port_at is not None and time.monotonic() >= self._close_port_at:
            self.should_exit = True
        return await super().on_tick(counter)


def _exit_after(seconds: float) -> None:
    """End the process after ``seconds`` even if something hangs: a process manager is waiting for its exit."""

    def exit_now() -> None:
        log.error("shutdown took too long")
        os._exit(1)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()
