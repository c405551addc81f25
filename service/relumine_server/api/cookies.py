"""The cookie of a login: what it is called, what it holds, and where it may travel."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from relumine_server.settings import Settings

NAME = "relumine"


def is_secure(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether the browser speaks https, if need be to a proxy before us that is known by its public name."""
    public = urlsplit(settings.public_url or "")
    behind = public.scheme == "https" and connection.headers.get("host", "").lower() == public.netloc.lower()
    return connection.url.scheme == "https" or behind


def read(connection: HTTPConnection, settings: Settings) -> str | None:
    """What the cookie of a login holds."""
    return connection.cookies.get(_name(secure=is_secure(connection, settings)))


def put(response: Response, value: str, *, secure: bool, max_age_s: int) -> None:
    """Give a browser the cookie of a login; an age of 0 takes it away. Over https no other host can have set it."""
    response.set_cookie(
        _name(secure=secure), value, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _name(*, secure: bool) -> str:
    return f"__Host-{NAME}" if secure else NAME
