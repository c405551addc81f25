"""Serves the dashboard and the API reference: our static files, plotly.js and Swagger UI from installed packages.

No data is read here: the dashboard is an ordinary client of /v1. Its content security policy lets the browser load
nothing from other sites.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

PACKAGE_FILES = {
    "plotly.min.js": ("plotly", "package_data"),
    "swagger-ui-bundle.js": ("fastapi_offline", "static"),
    "swagger-ui.css": ("fastapi_offline", "static"),
}
"""Files that come with an installed package: the package, and the folder in it. The package is never imported."""

GZIP_MIN_BYTES = 100_000  # plotly.js has 4.8 MB, 1.5 MB compressed

REVALIDATE = "no-cache"  # kept by the browser but checked each time: a new server must not meet an old page
KEEP_A_WEEK = "public, max-age=604800"

HEADERS = {
    # plotly writes style elements and draws heat maps as data: images; Swagger UI has its icons as such images.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Vary": "Accept-Encoding",
}

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types by suffix. The table of the machine may be wrong, and browsers must not guess."""

router = APIRouter(include_in_schema=False)
_own_files = StaticFiles(packages=[("relumine_server.ui", "static")])


@router.get("/")
async def index(request: Request) -> Response:
    """Return the dashboard."""
    return await _respond(_own_files, "index.html", request, REVALIDATE)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the API reference."""
    return await _respond(_own_files, "docs.html", request, REVALIDATE)


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    """Return a file of the dashboard."""
    if name not in PACKAGE_FILES:
        return await _respond(_own_files, name, request, REVALIDATE)
    files = await run_in_threadpool(_package_files, name)
    return await _respond(files, name, request, KEEP_A_WEEK)


@cache
def _package_files(name: str) -> StaticFiles:
    package, folder = PACKAGE_FILES[name]
    if find_spec(package) is None:
        raise HTTPException(status_code=404)
    return StaticFiles(packages=[(package, folder)], follow_symlink=True)


async def _respond(files: StaticFiles, name: str, request: Request, cache_control: str) -> Response:
    response = await files.get_response(name, _plain(request.scope))
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
    # Weak, because the compressed and the plain form share it.
    headers = {**HEADERS, "Cache-Control": cache_control, "ETag": f"W/{response.headers['etag']}"}
    if not isinstance(response, NotModifiedResponse):
        response.headers["Content-Type"] = MEDIA_TYPES[Path(name).suffix]
        if accepts_gzip and name in PACKAGE_FILES:
            response = await run_in_threadpool(_compressed, name, response)
    # A 304 needs the headers, too: a browser replaces the stored ones by those of the 304.
    response.headers.update(headers)
    return response


def _plain(scope: Scope) -> Scope:
    """Return the request without conditions on dates and ranges: files are compared by their ETag, and sent whole."""
    ignored = (b"range", b"if-range", b"if-modified-since")
    return {**scope, "headers": [header for header in scope["headers"] if header[0] not in ignored]}


def _compressed(name: str, response: Response) -> Response:
    content = _gzipped(name)
    if content is None:
        return response
    headers = {"Content-Encoding": "gzip", "Content-Type": response.headers["content-type"]}
    return Response(content, headers=headers)


@cache
def _gzipped(name: str) -> bytes | None:
    path, _ = _package_files(name).lookup_path(name)
    content = Path(path).read_bytes()
    return gzip.compress(content, compresslevel=6, mtime=0) if len(content) >= GZIP_MIN_BYTES else None
