"""Serves the page and the API's description: a few static files, plotly.js and Swagger UI from installed packages.

It reads no data: the page is an ordinary client of /v1. Nothing outside the files is reachable, and the policy header
lets the browser load nothing from elsewhere.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response

SHIPPED = {
    "plotly.min.js": ("plotly", "package_data"),
    "swagger-ui-bundle.js": ("fastapi_offline", "static"),
    "swagger-ui.css": ("fastapi_offline", "static"),
}
"""Files that come with an installed package: which one, and in which folder of it."""

GZIP_FROM_BYTES = 100_000  # plotly.js: 4.8 MB, 1.5 MB on the way

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # plotly writes style elements and draws heat maps as data: images; Swagger UI has its icons as such
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Vary": "Accept-Encoding",
}
_REVALIDATE = "no-cache"  # kept, but asked for again: a new server must not meet an old page
_KEEP = "public, max-age=604800"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    zipped: bytes | None
    media_type: str
    etag: str


@router.get("/")
def index(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The page."""
    return _answer(_files()["index.html"], if_none_match, _REVALIDATE)


@router.get("/docs")
def docs(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The API's description, to read and to try."""
    return _answer(_files()["docs.html"], if_none_match, _REVALIDATE)


@router.get("/static/{name}")
def static(
    name: str,
    if_none_match: Annotated[str | None, Header()] = None,
    accept_encoding: Annotated[str, Header()] = "",
) -> Response:
    """One of the files that the page is made of."""
    if name in SHIPPED:
        return _answer(_shipped(name), if_none_match, _KEEP, zipped="gzip" in accept_encoding)
    file = _files().get(name)
    if file is None:
        raise HTTPException(status_code=404)
    return _answer(file, if_none_match, _REVALIDATE)


def _answer(file: _File, if_none_match: str | None, cache_control: str, *, zipped: bool = False) -> Response:
    headers = {**_HEADERS, "ETag": file.etag, "Cache-Control": cache_control}
    if if_none_match == file.etag:
        return Response(status_code=304, headers=headers)
    if zipped and file.zipped is not None:
        return Response(file.zipped, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


@cache
def _files() -> dict[str, _File]:
    folder = files("relumine_server.page") / "static"
    return {entry.name: _read(entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()}


@cache
def _shipped(name: str) -> _File:
    """A file as a package ships it; the package itself is never imported: plotly would take a second."""
    package, folder = SHIPPED[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise HTTPException(status_code=404)
    return _read(name, Path(spec.submodule_search_locations[0], folder, name).read_bytes())


def _read(name: str, content: bytes) -> _File:
    zipped = gzip.compress(content, compresslevel=6, mtime=0) if len(content) >= GZIP_FROM_BYTES else None
    etag = f'W/"{sha256(content).hexdigest()[:32]}"'  # weak: the zipped and the plain form share it
    return _File(content, zipped, _TYPES[Path(name).suffix], etag)
