"""Listens: uvicorn with the limits that only the holder of a connection can keep, and an orderly end.

What uvicorn leaves open is closed here: heads of requests that drip or never end, bodies that go on after their answer,
readers that do not read, and any number of connections.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relumine_server.api import problems
from relumine_server.ending import BACKGROUND_S, Ending
from relumine_server.settings import Settings

MAX_HEAD_BYTES = 64 * 2**10
REQUESTS_S = 5.0  # that requests under way may still take when the server ends
LAST_RESORT_S = REQUESTS_S + BACKGROUND_S + 2.5  # after which the process ends, whatever hangs
OTHER_FILES = 256  # beside connections: the database, the log
M_MMAP_THRESHOLD = -3  # of malloc.h

log = structlog.get_logger(__name__)


class Guarded(HttpToolsProtocol):
    """A connection that may be open, silent, slow and large only so much."""

    def __init__(self, *arguments: Any, settings: Settings, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limits = settings
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._head_bytes: int | None = 0  # None while a body is read
        self._in_vain = 0  # bytes of a body that was answered already

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "too_many_connections", "too many connections are open; try again shortly")
            return
        self._arm("head", self._limits.header_timeout_s, self._head_is_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; a body has its own limits."""
        if self.transport.is_closing():
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, "head_too_large", f"at most {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_bytes, self._in_vain = self._head_bytes or 0, 0
        self._arm("head", self._limits.header_timeout_s, self._head_is_slow)

    def on_headers_complete(self) -> None:
        """A body begins, if there is one."""
        self._disarm("head")
        self._head_bytes = None
        self._arm("body", self._limits.body_timeout_s + 1.0, self.transport.close)  # after the answer 408
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Whoever sends on after the answer may do so until it would have been too much anyway, and then hears it."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._in_vain += len(body)
            if self._in_vain > self._limits.max_body_bytes:
                self.transport.abort()

    def on_message_complete(self) -> None:
        """The next thing is a head again."""
        self._disarm("body")
        self._head_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads too slowly; it may do so for a while."""
        super().pause_writing()
        self._arm("send", self._limits.send_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        """It reads again."""
        self._disarm("send")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """What is no HTTP is a problem like any other."""
        self._refuse(400, "bad_request", "this is no HTTP request")

    def _cut_off(self) -> None:
        if self.cycle is not None:
            self.cycle.disconnected = True  # whoever writes the answer stops
        self.transport.abort()

    def _head_is_slow(self) -> None:
        if self._head_bytes:
            self._refuse(408, "head_too_slow", f"within {self._limits.header_timeout_s:g} s")
        else:
            self.transport.close()  # nothing was begun: nobody waits for an answer

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else it would end up in another answer
            self.transport.write(problems.raw(status, code, detail))
        self.transport.close()

    def _arm(self, name: str, seconds: float, then: Any) -> None:
        self._disarm(name)
        self._timers[name] = self.loop.call_later(seconds, then)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


class Server(uvicorn.Server):
    """Told to end, it says for a while that it is not ready, then closes its port, finishes, and exits with 0."""

    def __init__(self, config: uvicorn.Config, ending: Ending, drain_s: float) -> None:
        super().__init__(config)
        self._ending, self._drain_s = ending, drain_s
        self._is_told = False
        self._leave_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals call it
        """Only note it: a signal may come at any moment, while any lock is held."""
        self.force_exit = self._is_told and self.should_exit
        self._is_told = True

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to close the port."""
        if self._is_told and self._leave_at is None:
            self._leave_at = time.monotonic() + self._drain_s
            self._ending.begin()
            _watch(self._drain_s + LAST_RESORT_S)
        if self._leave_at is not None and time.monotonic() >= self._leave_at:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(app: FastAPI, settings: Settings, sockets: list[socket.socket] | None = None) -> None:
    """Serve until told to end."""
    _allow_files(settings.max_connections + OTHER_FILES)
    _give_blocks_back()
    Server(configured(app, settings), app.state.ending, settings.drain_s).run(sockets)


def configured(app: FastAPI | None, settings: Settings) -> uvicorn.Config:
    """Uvicorn's configuration."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # none where only the address is wanted
        host=settings.host,
        port=settings.port,
        http=partial(Guarded, settings=settings),  # type: ignore[arg-type]  # it is called like a class
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(REQUESTS_S),
    )


def _watch(seconds: float) -> None:
    """End the process after so long, whatever hangs: somebody waits for its exit."""

    def end() -> None:
        log.error("the end took too long")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _allow_files(number: int) -> None:
    """Let the process open so many files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _give_blocks_back() -> None:
    """Let glibc return blocks from 1 MiB on as soon as they are freed.

    Else the threshold rises with every block to 32 MiB, and a large body's memory stays with the process.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)
