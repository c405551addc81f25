"""Serves the dashboard and the API reference: our static files, and Swagger UI from an installed package.

No data is read here: the dashboard is an ordinary client of /v1. Its content security policy lets the browser load
nothing from other sites. Every address of a file contains the build, a hash of all files, so that browsers may keep
files for ever and a new server never meets an old module. All addresses are relative: a proxy may add a path prefix.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from relumine_server.ui.modules import FOLDER, app_modules, early_modules, page_modules

PACKAGE_FILES = {
    "swagger-ui-bundle.js": ("fastapi_offline", "static"),
    "swagger-ui.css": ("fastapi_offline", "static"),
}
"""Files that come with an installed package: the package, and the folder in it. The package is never imported."""

GZIP_MIN_BYTES = 1_000
REVALIDATE = "no-cache"  # kept by the browser but checked each time
KEEP_FOREVER = "public, max-age=31536000, immutable"
BUILD = "BUILD"  # in the HTML files, replaced by the build
EARLY_PRELOADS = "<!-- the modules of early.js -->"
PRELOADS = "<!-- the modules of every page -->"
PAGE_MODULES = "PAGE_MODULES"  # replaced by the modules of each page

HEADERS = {
    # The pages set the places and sizes of charts by styles; Swagger UI has its icons as data: images.
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


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of the dashboard, in memory: a page consists of dozens, and its build is fixed while the server runs."""

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str


@router.get("/")
async def index(request: Request) -> Response:
    """Return the dashboard."""
    return _html("index.html", request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the API reference."""
    return _html("docs.html", request)


@router.get("/static/{build}/{name:path}")
async def static(build: str, name: str, request: Request) -> Response:
    """Return a file of the dashboard; of another build than this server's, the file that it has now."""
    headers = {**HEADERS, "Cache-Control": KEEP_FOREVER if build == current_build() else REVALIDATE}
    own_file = _own_files().get(name)
    if own_file is not None:
        return _own_response(own_file, request, headers)
    if name in PACKAGE_FILES:
        return await _package_response(name, request, headers)
    raise HTTPException(status_code=404)


@cache
def current_build() -> str:
    """Return the hash of all files of the dashboard."""
    digest = hashlib.sha256()
    for path in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(FOLDER)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _html(name: str, request: Request) -> Response:
    text = _read_html(name)
    etag = f'W/"{current_build()}"'
    headers = {**HEADERS, "Cache-Control": REVALIDATE, "ETag": etag, "Content-Type": MEDIA_TYPES[".html"]}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers)


@cache
def _read_html(name: str) -> str:
    text = (FOLDER / name).read_text(encoding="utf-8")
    text = text.replace(EARLY_PRELOADS, _preloads(early_modules())).replace(PRELOADS, _preloads(app_modules()))
    return text.replace(PAGE_MODULES, json.dumps(page_modules())).replace(BUILD, current_build())


def _preloads(modules: Sequence[str]) -> str:
    return "\n  ".join(f'<link rel="modulepreload" href="static/{BUILD}/{module}">' for module in modules)


@cache
def _own_files() -> dict[str, OwnFile]:
    """Return the files of the dashboard by their names below ``static``; pages have routes of their own."""
    files = (path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES and path.suffix != ".html")
    return {path.relative_to(FOLDER).as_posix(): _own_file(path) for path in files}


def _own_file(path: Path) -> OwnFile:
    content = path.read_bytes()
    compressed = _gzipped(content) if len(content) >= GZIP_MIN_BYTES else None
    return OwnFile(content, compressed, MEDIA_TYPES[path.suffix], _etag(content))


def _own_response(file: OwnFile, request: Request, headers: dict[str, str]) -> Response:
    headers["ETag"] = file.etag
    headers["Content-Type"] = file.media_type
    if file.etag in request.headers.get("if-none-match", ""):
        # A 304 needs the headers, too: a browser replaces the stored ones by those of the 304.
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, headers=headers)


def _etag(content: bytes) -> str:
    """Return a weak ETag, because the compressed and the plain form share it."""
    return f'W/"{hashlib.sha256(content).hexdigest()[:16]}"'


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=6, mtime=0)


async def _package_response(name: str, request: Request, headers: dict[str, str]) -> Response:
    """Return a file of an installed package; uncompressed it is large, so it is sent from disk, in parts."""
    files = await run_in_threadpool(_package_files, name)
    response = await files.get_response(name, _plain(request.scope))
    headers["ETag"] = f"W/{response.headers['etag']}"
    if not isinstance(response, NotModifiedResponse):
        headers["Content-Type"] = MEDIA_TYPES[Path(name).suffix]
        if "gzip" in request.headers.get("accept-encoding", ""):
            compressed = await run_in_threadpool(_compressed_package_file, name)
            return Response(compressed, headers={**headers, "Content-Encoding": "gzip"})
    response.headers.update(headers)
    return response


@cache
def _package_files(name: str) -> StaticFiles:
    package, folder = PACKAGE_FILES[name]
    if find_spec(package) is None:
        raise HTTPException(status_code=404)
    return StaticFiles(packages=[(package, folder)], follow_symlink=True)


@cache
def _compressed_package_file(name: str) -> bytes:
    path, _ = _package_files(name).lookup_path(name)
    return _gzipped(Path(path).read_bytes())


def _plain(scope: Scope) -> Scope:
    """Return the request without conditions on dates and ranges: files are compared by their ETag, and sent whole."""
    ignored = (b"range", b"if-range", b"if-modified-since")
    return {**scope, "headers": [header for header in scope["headers"] if header[0] not in ignored]}
