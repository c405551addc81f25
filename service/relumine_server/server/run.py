"""Serves an application with uvicorn, within limits that only the owner of a connection can enforce.

See ``protocol`` for those limits and ``shutdown`` for the orderly end.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import socket
import sys
from contextlib import suppress
from functools import partial

import uvicorn
from fastapi import FastAPI

from relumine_server.server.connections import PROBE_PLACES, ConnectionPlaces
from relumine_server.server.pipelines import PipelineTurns
from relumine_server.server.protocol import LimitedHttpProtocol
from relumine_server.server.shutdown import REQUESTS_S, Server
from relumine_server.server.sockets import BACKLOG
from relumine_server.settings import Settings

OTHER_FILES = 256  # file descriptors beside those of connections, also just accepted ones: the database, the log
SWITCH_INTERVAL_S = 0.001
"""How long one thread may hold the interpreter while others want it. Python's 5 ms would delay every upload by several
times as much while a large one is analyzed."""
GC_THRESHOLD = 20_000
"""New objects after which Python looks for cycles among them. At its 700 a third of the cost of an overview of ten
thousand layers was this search."""
M_MMAP_THRESHOLD = -3  # of malloc.h


def serve(app: FastAPI, settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve on ``sockets`` until SIGTERM or SIGINT."""
    _raise_file_limit(settings.max_connections + PROBE_PLACES + BACKLOG + OTHER_FILES)
    _return_large_blocks()
    tune_interpreter()
    Server(uvicorn_config(app, settings), app.state.services.shutdown, settings.drain_s).run(sockets)


def tune_interpreter() -> None:
    """Set what Python chooses for programs of one thread and few objects."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(GC_THRESHOLD)


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for these settings."""
    places = ConnectionPlaces(settings.max_connections, settings.max_connections_per_address)
    turns = PipelineTurns()
    protocol = partial(LimitedHttpProtocol, settings=settings, places=places, turns=turns, proxies=settings.proxies)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol,  # type: ignore[arg-type]  # it is called like a class
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # api.middleware.forwarded reads them, from named proxies only
        timeout_graceful_shutdown=int(REQUESTS_S),
    )


def _raise_file_limit(number: int) -> None:
    """Allow the process ``number`` open files, as far as its hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _return_large_blocks() -> None:
    """Make glibc return blocks of 1 MiB and more to the system as soon as they are freed.

    Otherwise its threshold grows with every large block up to 32 MiB, and the process keeps the memory of large bodies.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)
