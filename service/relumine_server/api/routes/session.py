"""``/v1/session``: the login of the dashboard. A browser exchanges an API key for a cookie with the key's rights."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints
from starlette.concurrency import run_in_threadpool

from relumine.schemas.scope import Scope
from relumine_server.api import problem_details
from relumine_server.api.dependencies import AuthenticatorDep, DatabaseDep, ServicesDep, SettingsDep
from relumine_server.api.rate_limit import client_address
from relumine_server.api.schemas.common import RequestBody
from relumine_server.api.services import Services
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.auth import api_keys, session_cookie
from relumine_server.auth import repository as auth_repository
from relumine_server.auth.permissions import Principal
from relumine_server.errors import InsufficientScope, KeyExpired, KeyRevoked, KeyUnknown, TooManyAttempts, Unauthorized

router = APIRouter(prefix="/v1/session", tags=["session"], route_class=StrictQueryRoute)

LOGIN_DELAY_S = 0.5  # of every login, successful or not: it slows down guessing

CANNOT_LOG_IN = (Unauthorized, InsufficientScope)


class Login(RequestBody):
    """The API key to log in with, of scope read, write or admin."""

    key: Annotated[str, StringConstraints(max_length=200)]


class CurrentSession(BaseModel):
    """The rights of a request's key or cookie, null without either; ``needed`` is true if this server requires one."""

    needed: bool
    scope: Scope | None = None
    project: str | None = None
    key_id: str | None = None


@router.post(
    "", responses=problem_details.responses(KeyUnknown, KeyExpired, KeyRevoked, InsufficientScope, TooManyAttempts)
)
async def log_in(body: Login, request: Request, response: Response, services: ServicesDep) -> CurrentSession:
    """Exchange an API key for a session cookie."""
    now = services.clock()
    try:
        principal, key_id = await _check_key(body.key.strip(), services, now)
    except CANNOT_LOG_IN:
        services.login_attempts.count_failed(client_address(request.scope["client"]))
        await asyncio.sleep(LOGIN_DELAY_S)
        raise
    services.login_attempts.count_successful(key_id)
    await asyncio.sleep(LOGIN_DELAY_S)
    token = secrets.token_urlsafe(32)
    digest = api_keys.digest(token)
    lifetime = timedelta(hours=services.settings.session_hours)
    await run_in_threadpool(
        services.database.write,
        lambda connection: auth_repository.insert_session(connection, digest, key_id, now, now + lifetime),
    )
    secure = session_cookie.is_secure(request, services.settings)
    session_cookie.set_cookie(response, token, secure=secure, max_age_s=int(lifetime.total_seconds()))
    return _view(principal)


@router.get("")
async def read_session(request: Request, authenticator: AuthenticatorDep) -> CurrentSession:
    """Return what the key or the cookie of this request allows, and whether this server requires one."""
    if await authenticator.is_open():
        return CurrentSession(needed=False, scope="admin")
    try:
        return _view(await authenticator.authenticate(request))
    except Unauthorized:
        return CurrentSession(needed=True)


@router.delete("", status_code=204)
def log_out(
    request: Request, response: Response, database: DatabaseDep, settings: SettingsDep, authenticator: AuthenticatorDep
) -> None:
    """End the session of this browser, in the browser and in the database."""
    token = session_cookie.read_cookie(request, settings)
    if token is not None:
        database.write(lambda connection: auth_repository.delete_session(connection, api_keys.digest(token)))
        authenticator.forget()
    session_cookie.set_cookie(response, "", secure=session_cookie.is_secure(request, settings), max_age_s=0)


async def _check_key(key: str, services: Services, now: datetime) -> tuple[Principal, str]:
    """Return who logs in and the id of its key. Raises one of ``CANNOT_LOG_IN``."""
    principal = await services.authenticator.principal_of(key, now)
    if principal.scope == "ingest" or principal.key_id is None:
        raise InsufficientScope("the dashboard needs a read, a write or an admin key")
    return principal, principal.key_id


def _view(principal: Principal) -> CurrentSession:
    return CurrentSession(needed=True, scope=principal.scope, project=principal.project, key_id=principal.key_id)
