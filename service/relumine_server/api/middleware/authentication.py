"""Authentication middleware: host, origin, rate limit, key, scope and project are checked before any route runs.

It is ASGI middleware and not a FastAPI dependency, because FastAPI would read the body of any caller first.
"""

from __future__ import annotations

from collections.abc import Mapping
from socket import gethostname
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import host_origin, problem_details
from relumine_server.api.rate_limit import RateLimiter, client_address
from relumine_server.auth import ownership, permissions
from relumine_server.auth.authenticator import Authenticator, bearer
from relumine_server.auth.permissions import Principal, Target
from relumine_server.db.database import Database
from relumine_server.errors import (
    CrossSiteRequest,
    InsufficientScope,
    ProblemError,
    ProjectForbidden,
    Unauthorized,
    UnknownHost,
)
from relumine_server.settings import Settings

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of a response that does not set them itself: data is never executed, framed, embedded elsewhere or cached."""

NOT_RATE_LIMITED = frozenset({"/livez", "/readyz"})
LOGIN = ("POST", "/v1/session")  # it counts by itself, and only those who fail


class AuthenticationMiddleware:
    """Admits a request or answers why not. The caller is kept as ``request.state.caller``."""

    def __init__(self, app: ASGIApp, *, database: Database, authenticator: Authenticator, settings: Settings) -> None:
        self._app = app
        self._database = database
        self._authenticator = authenticator
        self._rate_limiter = RateLimiter(settings.requests_per_second)
        home = urlsplit(settings.base_url)
        self._home = home.netloc.lower()
        self._host_names = frozenset({*settings.hosts, home.hostname or "", settings.host, gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an admitted request on; answer any other with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_security_headers(send)
        try:
            caller = await self._admit(scope)
        except ProblemError as error:
            await problem_details.to_response(error, scope)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Principal | None:
        """Return the caller, None for a public route. Raises the problem that the request is answered with."""
        self._check_host_and_origin(scope)
        target = permissions.target(scope["method"], scope["path"])
        if target.permission == "nothing":
            if scope["path"] not in NOT_RATE_LIMITED and (scope["method"], scope["path"]) != LOGIN:
                self._rate_limiter.take(await self._public_caller(scope))
            return None
        caller = await self._authenticate(scope)
        if target.permission not in permissions.SCOPE_GRANTS[caller.scope]:
            raise InsufficientScope(f"needs a key of scope {target.permission}; this key has scope {caller.scope}")
        if caller.project is not None:
            await self._check_project(scope, target, caller.project)
        return caller

    async def _authenticate(self, scope: Scope) -> Principal:
        """Return the caller and count its request.

        Requests are counted by key, or by address on an open server. Requests without a valid key are counted apart,
        by address, and only they are refused beyond the limit: someone with a valid key may have the same address.
        """
        address = client_address(scope["client"])
        try:
            caller = await self._authenticator.authenticate(HTTPConnection(scope))
        except Unauthorized:
            self._rate_limiter.take(_refused(address))
            raise
        self._rate_limiter.take(caller.key_id or address)
        return caller

    async def _public_caller(self, scope: Scope) -> str:
        """Return what a request of a public route is counted by: a valid key or login if it has one, or its address."""
        connection = HTTPConnection(scope)
        address = client_address(scope["client"])
        if not self._authenticator.has_credentials(connection):
            return address
        try:
            return (await self._authenticator.authenticate(connection)).key_id or address
        except Unauthorized:
            return _refused(address)
        except ProblemError:  # without the database it is not known; the route may not need it
            return address

    def _check_host_and_origin(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if not host_origin.is_known_host(host, self._host_names):
            raise UnknownHost(
                "use the server's address or RELUMINE_PUBLIC_URL, or add this host to RELUMINE_ALLOWED_HOSTS"
            )
        if bearer(headers) is not None:
            return  # no browser adds a key by itself
        own_hosts = (host.lower(), self._home)
        fetch_site = headers.get("sec-fetch-site")
        if host_origin.is_cross_site(scope["method"], fetch_site, headers.get("origin"), own_hosts):
            raise CrossSiteRequest

    async def _check_project(self, scope: Scope, target: Target, project: str) -> None:
        """Check that a key of one project asks for nothing of another project.

        The id of a run in the path is that of the key's project, whatever other project has a run of the same id.
        """
        if not target.is_for_bound_keys:
            raise ProjectForbidden("this affects every project, and the key is bound to one")
        if target.parameters:
            await run_in_threadpool(self._check_owner, scope, target.parameters, project)

    def _check_owner(self, scope: Scope, parameters: Mapping[str, str], project: str) -> None:
        with self._database.read() as connection:
            if "run_id" in parameters:
                sent = parameters["run_id"]
                stored = ownership.run_id_within(connection, sent, project)
                scope["path"] = scope["path"].replace(f"/runs/{sent}", f"/runs/{stored}", 1)
                parameters = {**parameters, "run_id": stored}
            ownership.require(connection, parameters, project)


def _refused(address: str) -> str:
    """Return what requests without a valid key are counted by."""
    return f"refused {address}"


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
