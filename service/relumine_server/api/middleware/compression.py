"""Compression middleware, the innermost: answers of reads are sent compressed to clients that accept it.

The overview of a run with 49 layers is 1.5 MB of JSON, and 0.1 MB compressed (``benchmarks.dashboard.page_times``).
"""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/v1/"  # the files of the dashboard are compressed once, when they are first read
LEAST_BYTES = 4_096
LEVEL = 4
"""Higher levels take more time and save little."""


class CompressionMiddleware:
    """Compresses the answers of GET requests to the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressing = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        is_read = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(PREFIX)
        await (self._compressing if is_read else self._app)(scope, receive, send)
