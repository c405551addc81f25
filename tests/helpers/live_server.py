"""The application behind a real socket, or called in process through all of its middleware."""

from __future__ import annotations

import asyncio
import functools
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from relumine_server.app import create_app
from relumine_server.server import run
from relumine_server.settings import Settings
from tests.helpers import databases

THREAD = "server-under-test"


@contextmanager
def listening(database_url: str, **settings) -> Iterator[str]:
    """Run a server on a free port for the duration of the block; yield its URL. A new SQLite database is migrated."""
    _create_if_missing(database_url)
    resolved = Settings(database_url=database_url, port=0, **settings)
    app = create_app(resolved)
    # A request that the end of a test cuts off is logged with its traceback, and Python 3.11 sometimes crashes while it
    # formats one beside running threads.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    runner = uvicorn.Server(run.uvicorn_config(app, resolved))
    thread = threading.Thread(target=runner.run, name=THREAD)
    thread.start()
    try:
        while not runner.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)  # a real server is waited for
        yield f"http://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}"
    finally:
        runner.should_exit = True
        thread.join()


def _create_if_missing(database_url: str) -> None:
    """Copy a migrated database to the path of a new one: to migrate takes longer than most tests."""
    file = Path(database_url.removeprefix("sqlite:///"))
    if database_url.startswith("sqlite:///") and not file.exists() and file.parent.is_dir():
        file.write_bytes(_migrated_sqlite())


@functools.cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        databases.migrate(f"sqlite:///{folder}/x.db")
        return Path(folder, "x.db").read_bytes()


def caller(app) -> Callable[..., httpx.Response]:
    """Return a function that sends a request through the application; errors become responses, as over HTTP."""

    def send(method: str, path: str, **options) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **options)

        return asyncio.run(request())

    return send
