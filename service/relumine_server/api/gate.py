"""What every request passes before any route sees it, and what every answer carries.

It is ASGI and no dependency of FastAPI's, which would read the body first, for whomever.
"""

from __future__ import annotations

from collections.abc import Mapping
from socket import gethostname
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import access, origins, problems
from relumine_server.api.access import Caller, Target
from relumine_server.api.keyring import Keyring, bearer
from relumine_server.api.rates import Rates, address
from relumine_server.errors import CrossSite, OtherProject, ProblemError, ScopeTooSmall, Unauthorized, UnknownHost
from relumine_server.settings import Settings
from relumine_server.storage import owners
from relumine_server.storage.store import Store

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of an answer that says nothing else: data is neither run, framed, embedded elsewhere nor kept."""


UNCOUNTED = frozenset({"/livez", "/readyz"})


class Gate:
    """Checks host, origin, rate, key, scope and project; puts the caller into ``request.state.caller``."""

    def __init__(self, app: ASGIApp, *, store: Store, keyring: Keyring, settings: Settings) -> None:
        self._app, self._store, self._keyring = app, store, keyring
        self._rates = Rates(settings.requests_per_second)
        home = urlsplit(settings.base_url)
        self._home = home.netloc.lower()
        self._names = frozenset({*settings.hosts, home.hostname or "", settings.host, gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            caller = await self._admit(scope)
        except ProblemError as error:
            await problems.told(error, scope["path"])(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Caller | None:
        """Who is let in; None where nobody was asked. Raises what the answer will be."""
        self._check_way(scope)
        asked = access.target(scope["method"], scope["path"])
        if asked.need == "nothing":
            if scope["path"] not in UNCOUNTED:
                self._rates.take(address(scope["client"]))
            return None
        caller = await self._counted(scope)
        if asked.need not in access.MAY[caller.scope]:
            raise ScopeTooSmall(f"this needs a key of scope {asked.need}; yours is of scope {caller.scope}")
        if caller.project is not None and asked.parameters:
            await run_in_threadpool(self._check_owner, asked, caller.project)
        if caller.project is not None and asked.every_project:
            raise OtherProject("this concerns every project; the key is bound to one")
        return caller

    async def _counted(self, scope: Scope) -> Caller:
        """Who asks, counted by key or else by address. Attempts without a good key count apart from all others."""
        who = address(scope["client"])
        self._rates.check(f"refused {who}")
        try:
            caller = await self._keyring.caller(HTTPConnection(scope))
        except Unauthorized:
            self._rates.take(f"refused {who}")
            raise
        self._rates.take(caller.key_id or who)
        return caller

    def _check_way(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not origins.is_known_host(host, self._names):
            raise UnknownHost(
                "reach it by address or by RELUMINE_PUBLIC_URL, or name the host in RELUMINE_ALLOWED_HOSTS"
            )
        if bearer(headers) is not None:
            return  # no browser adds a key by itself
        own = (host.lower(), self._home)
        if origins.is_cross_site(scope["method"], headers.get("sec-fetch-site"), headers.get("origin"), own):
            raise CrossSite

    def _check_owner(self, asked: Target, project: str) -> None:
        with self._store.read() as session:
            owners.require(session, asked.parameters, project)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
