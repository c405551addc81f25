"""The application as users meet it: behind a real socket, or called in process through its whole stack."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from relumine_server import serving
from relumine_server.app import create_app
from relumine_server.settings import Settings

THREAD = "server-under-test"


@contextmanager
def listening(database_url: str, **settings) -> Iterator[str]:
    """Address of a server that listens on a free port, until the test is over, however it ends."""
    asked = Settings(database_url=database_url, port=0, **settings)
    app = create_app(asked)
    runner = uvicorn.Server(serving.configured(app, asked))
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


def caller(app) -> Callable[..., httpx.Response]:
    """One request through the whole application; its own errors are answered, as over HTTP."""

    def send(method: str, path: str, **options) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **options)

        return asyncio.run(go())

    return send
