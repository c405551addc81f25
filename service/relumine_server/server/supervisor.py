"""Several server processes on one port. The parent holds the sockets, starts the processes and replaces dead ones.

uvicorn's own ``Multiprocess`` is not used: it builds its own ``Server`` in each process, which has no drain period
and no last resort, and it waits without end for processes that do not stop.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import structlog

from relumine_server import log_config
from relumine_server.metrics import SHARED_FOLDER
from relumine_server.server import run, shutdown
from relumine_server.settings import Settings

RESTART_PAUSE_S = 1.0  # a process that cannot start must not use up the machine
GRACE_S = 2.0  # beyond what a process allows itself for its shutdown

_spawn = multiprocessing.get_context("spawn")
log = structlog.get_logger(__name__)


class Supervisor:
    """The processes of one port."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._stop_requested = False
        self._processes: list[SpawnProcess] = []

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        with tempfile.TemporaryDirectory(prefix="relumine-metrics-") as folder:
            os.environ[SHARED_FOLDER] = folder
            self._processes = [self._start_process() for _ in range(self._settings.workers)]
            while not self._stop_requested:
                wait([process.sentinel for process in self._processes], timeout=0.2)
                if not self._stop_requested:
                    self._replace_dead()
            return self._stop()

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requested = True

    def _start_process(self) -> SpawnProcess:
        process = _spawn.Process(target=serve_in_child, args=(self._settings, self._sockets), name="relumine-worker")
        process.start()
        return process

    def _replace_dead(self) -> None:
        for index, process in enumerate(self._processes):
            if process.exitcode is not None:
                log.warning("server process ended", pid=process.pid, code=process.exitcode)
                time.sleep(RESTART_PAUSE_S)
                self._processes[index] = self._start_process()

    def _stop(self) -> int:
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + self._settings.drain_s + shutdown.LAST_RESORT_S + GRACE_S
        for process in self._processes:
            process.join(max(deadline - time.monotonic(), 0.0))
            if process.exitcode is None:
                process.kill()
                process.join()
        # A process that got SIGTERM while it started is ended by the signal: it had no request to finish.
        clean = all(process.exitcode in (0, -signal.SIGTERM) for process in self._processes)
        return 0 if clean else 1


def serve_in_child(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve in one of several processes, until SIGTERM or until the parent dies."""
    from relumine_server.app import create_app  # noqa: PLC0415 - its metrics depend on the environment set by the parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the parent forwards SIGTERM
    log_config.to_stderr(settings.log_level, settings.log_format)
    threading.Thread(target=_stop_with_parent, name="relumine-orphan", daemon=True).start()
    run.serve(create_app(settings), settings, sockets)


def _stop_with_parent() -> None:
    """End this process when the parent has died: an orphan would hold the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
