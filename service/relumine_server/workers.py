"""Several processes on one port: the parent holds the socket, starts them, and starts again what died."""

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

from relumine_server import logs, serving
from relumine_server.metrics import SHARED_FOLDER
from relumine_server.settings import Settings

PAUSE_S = 1.0  # before a process is started again: one that cannot live must not take the machine
GRACE_S = 2.0  # beyond what a process gives itself

_spawn = multiprocessing.get_context("spawn")
log = structlog.get_logger(__name__)


class Workers:
    """The processes of one port."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_told = False
        self._socket = serving.configured(None, settings).bind_socket()
        self._processes: list[SpawnProcess] = []

    def run(self) -> int:
        """Serve until told to end; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        with tempfile.TemporaryDirectory(prefix="relumine-metrics-") as folder, self._socket:
            os.environ[SHARED_FOLDER] = folder
            self._processes = [self._started() for _ in range(self._settings.workers)]
            while not self._is_told:
                wait([process.sentinel for process in self._processes], timeout=0.2)
                if not self._is_told:
                    self._replace_the_dead()
            return self._end()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told = True

    def _started(self) -> SpawnProcess:
        process = _spawn.Process(target=work, args=(self._settings, self._socket), name="relumine-worker")
        process.start()
        return process

    def _replace_the_dead(self) -> None:
        for place, process in enumerate(self._processes):
            if process.exitcode is not None:
                log.warning("a server process ended", pid=process.pid, code=process.exitcode)
                time.sleep(PAUSE_S)
                self._processes[place] = self._started()

    def _end(self) -> int:
        for process in self._processes:
            process.terminate()
        until = time.monotonic() + self._settings.drain_s + serving.LAST_RESORT_S + GRACE_S
        for process in self._processes:
            process.join(max(until - time.monotonic(), 0.0))
            if process.exitcode is None:
                process.kill()
                process.join()
        # One that was told while it began ends by the signal: it had nothing to lose.
        return 0 if all(process.exitcode in (0, -signal.SIGTERM) for process in self._processes) else 1


def work(settings: Settings, listening: socket.socket) -> None:
    """Be one of several processes."""
    from relumine_server.app import create_app  # noqa: PLC0415 - what it counts with depends on the environment

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent passes on SIGTERM
    logs.to_stderr(settings.log_level, settings.log_format)
    threading.Thread(target=_end_with_parent, name="relumine-orphan", daemon=True).start()
    serving.serve(create_app(settings), settings, [listening])


def _end_with_parent() -> None:
    """A process whose parent was killed would hold the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
