"""Forwarded middleware, the outermost: the client's address and scheme as a named proxy reports them.

uvicorn's own is switched off: it believes every proxy on loopback and the environment's ``FORWARDED_ALLOW_IPS``, and
takes any text for an address.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from relumine_server.net.clients import TrustedProxies

SCHEMES = ("http", "https")


class ForwardedMiddleware:
    """Reads ``X-Forwarded-For`` and ``X-Forwarded-Proto`` where the connection comes from a named proxy."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        client = scope.get("client") if scope["type"] == "http" else None
        if client is not None and self._proxies.includes(client[0]):
            headers = Headers(scope=scope)
            address = self._proxies.client_of(client[0], headers.getlist("x-forwarded-for"))
            [scheme, *others] = headers.getlist("x-forwarded-proto") or [""]
            scope["client"] = client if address == client[0] else (address, 0)
            if scheme.lower() in SCHEMES and not others:
                scope["scheme"] = scheme.lower()
        await self._app(scope, receive, send)
