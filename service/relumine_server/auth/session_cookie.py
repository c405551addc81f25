"""The session cookie of the dashboard: its name, its attributes, and when it is bound to https."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from relumine_server.settings import Settings

COOKIE_NAME = "relumine"


def is_secure(connection: HTTPConnection, settings: Settings) -> bool:
    """Return True if the browser uses https, to this server or to a proxy that is known by the public URL."""
    public = urlsplit(settings.public_url or "")
    host = connection.headers.get("host", "").lower()
    is_behind_https = public.scheme == "https" and host == public.netloc.lower()
    return connection.url.scheme == "https" or is_behind_https


def read_cookie(connection: HTTPConnection, settings: Settings) -> str | None:
    """Return the token in the session cookie of a request."""
    return connection.cookies.get(_name(secure=is_secure(connection, settings)))


def set_cookie(response: Response, token: str, *, secure: bool, max_age_s: int) -> None:
    """Set the session cookie; with an age of 0, delete it. Over https no other host can have set it."""
    response.set_cookie(
        _name(secure=secure), token, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _name(*, secure: bool) -> str:
    return f"__Host-{COOKIE_NAME}" if secure else COOKIE_NAME
