"""The page's login: a key for a cookie. What the cookie allows is what the key allows, for as long as both last."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints
from starlette.concurrency import run_in_threadpool

from relumine_server import credentials
from relumine_server.api import cookies, problems
from relumine_server.api.access import Caller
from relumine_server.api.depends import KeyringDep, SettingsDep, StoreDep
from relumine_server.api.schemas import Sent
from relumine_server.credentials import Scope
from relumine_server.errors import (
    KeyExpired,
    KeyRevoked,
    KeyUnknown,
    ScopeTooSmall,
    TooManyAttempts,
    Unauthorized,
)
from relumine_server.storage import logins

router = APIRouter(prefix="/v1/login", tags=["login"])

ATTEMPTS, WINDOW = 5, timedelta(minutes=1)
ADDRESSES = 10_000  # remembered; the one that was silent longest is forgotten first
DELAY_S = 0.5  # of every attempt, good or bad


class Login(Sent):
    """The key to log in with: a read or an admin key."""

    key: Annotated[str, StringConstraints(max_length=200)]


class Whoami(BaseModel):
    """Whether this server asks for keys, and what the one that was sent along allows; null where there was none."""

    needed: bool
    scope: Scope | None = None
    project: str | None = None
    key_id: str | None = None


class Attempts:
    """How often each address tried, in one process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._tried: OrderedDict[str, deque[datetime]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count an attempt. Raises TooManyAttempts; such a one does not count."""
        now = self._clock()
        tried = self._tried.setdefault(address, deque())
        self._tried.move_to_end(address)
        while tried and abs(now - tried[0]) >= WINDOW:
            tried.popleft()
        if len(tried) >= ATTEMPTS:
            raise TooManyAttempts
        tried.append(now)
        if len(self._tried) > ADDRESSES:
            self._tried.popitem(last=False)


@router.post("", responses=problems.responses(KeyUnknown, KeyExpired, KeyRevoked, ScopeTooSmall, TooManyAttempts))
async def log_in(
    body: Login, request: Request, response: Response, store: StoreDep, settings: SettingsDep, keyring: KeyringDep
) -> Whoami:
    """Exchange a key for a cookie that only this page's browser sends."""
    request.app.state.attempts.take(request.client.host if request.client else "")
    await asyncio.sleep(DELAY_S)
    now = request.app.state.clock()
    caller = await keyring.holder(body.key.strip(), now)
    if caller.scope == "ingest" or caller.key_id is None:
        raise ScopeTooSmall("the page needs a read or an admin key")
    key_id, token = caller.key_id, secrets.token_urlsafe(32)
    digest, lasts = credentials.digest(token), timedelta(hours=settings.login_hours)
    await run_in_threadpool(store.write, lambda session: logins.insert(session, digest, key_id, now, now + lasts))
    secure = cookies.is_secure(request, settings)
    cookies.put(response, token, secure=secure, max_age_s=int(lasts.total_seconds()))
    return _view(caller)


@router.get("")
async def who_am_i(request: Request, keyring: KeyringDep) -> Whoami:
    """What the key or the cookie of this request allows; whether any is needed."""
    if await keyring.is_open():
        return Whoami(needed=False, scope="admin")
    try:
        return _view(await keyring.caller(request))
    except Unauthorized:
        return Whoami(needed=True)


@router.delete("", status_code=204)
def log_out(request: Request, response: Response, store: StoreDep, settings: SettingsDep, keyring: KeyringDep) -> None:
    """End the login of this browser, here and in the database."""
    token = cookies.read(request, settings)
    if token is not None:
        store.write(lambda session: logins.delete(session, credentials.digest(token)))
        keyring.forget()
    cookies.put(response, "", secure=cookies.is_secure(request, settings), max_age_s=0)


def _view(caller: Caller) -> Whoami:
    return Whoami(needed=True, scope=caller.scope, project=caller.project, key_id=caller.key_id)
