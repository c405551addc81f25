"""Who sends a request: its key, or the login that a browser's cookie names. The one place that asks for keys.

What was read of a key is believed for two seconds, so that uploads cost no read each; a revoked key is worthless
everywhere after that, and at once in the process that revoked it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from relumine_server import credentials
from relumine_server.api import cookies
from relumine_server.api.access import ANYBODY, Caller
from relumine_server.errors import KeyExpired, KeyMissing, KeyRevoked, KeyUnknown, ProblemError
from relumine_server.settings import Settings
from relumine_server.storage import keys, logins
from relumine_server.storage.keys import KeyRow
from relumine_server.storage.store import Store

BELIEVED = timedelta(seconds=2)
REMEMBERED = 10_000  # keys; an attacker cannot fill it, since only keys that exist are remembered

log = structlog.get_logger(__name__)


def bearer(headers: Headers) -> str | None:
    """The key that a request carries. Other schemes are a proxy's affair, and browsers send those by themselves."""
    kind, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else None


class _Known(NamedTuple):
    row: KeyRow
    read_at: datetime


class _Login(NamedTuple):
    key_id: str
    ends_at: datetime
    read_at: datetime


class Keyring:
    """Knows keys. A server without any is open: its callers are all admin."""

    def __init__(self, store: Store, clock: Callable[[], datetime], settings: Settings) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._is_off = settings.insecure_no_auth
        self._is_closed = False
        self._open_at: datetime | None = None
        self._known: dict[str, _Known] = {}
        self._logins: dict[str, _Login] = {}

    async def caller(self, connection: HTTPConnection) -> Caller:
        """Who sends this. Raises KeyMissing, KeyUnknown, KeyExpired, KeyRevoked, or that the database is away."""
        if await self.is_open():
            return ANYBODY
        now, secret = self._clock(), bearer(connection.headers)
        if secret is None:
            return await self._logged_in(cookies.read(connection, self._settings), now)
        return await self.holder(secret, now)

    async def is_open(self) -> bool:
        """Whether nobody needs a key: there never was one, or keys are switched off."""
        if self._is_off or self._is_closed:
            return self._is_off
        now = self._clock()
        if self._open_at is None or abs(now - self._open_at) >= BELIEVED:
            self._is_closed = await run_in_threadpool(self._exists)
            self._open_at = now
        return not self._is_closed

    async def holder(self, secret: str, now: datetime) -> Caller:
        """Who holds this key. Raises KeyUnknown, KeyExpired, KeyRevoked."""
        shown = credentials.read(secret)
        if shown is None:
            raise KeyUnknown
        row = await self._row(shown.key_id, now)
        if row is None or not hmac.compare_digest(row.digest, shown.digest):
            raise KeyUnknown
        return await self._admitted(row, now)

    def forget(self) -> None:
        """Believe nothing that was read before: this process changed keys."""
        self._known, self._logins, self._open_at = {}, {}, None

    async def _logged_in(self, token: str | None, now: datetime) -> Caller:
        """Who logged in. A login that is over is as good as none."""
        if token is None:
            raise KeyMissing
        digest = credentials.digest(token)
        login = self._logins.get(digest)
        if login is None or abs(now - login.read_at) >= BELIEVED:
            login = await run_in_threadpool(self._read_login, digest, now)
        row = None if login is None or login.ends_at <= now else await self._row(login.key_id, now)
        if row is None:
            raise KeyMissing
        return await self._admitted(row, now)

    async def _admitted(self, row: KeyRow, now: datetime) -> Caller:
        state = row.state(now)
        if state != "valid":
            raise KeyRevoked if state == "revoked" else KeyExpired
        if row.last_used_at is None or now - row.last_used_at >= keys.USE_NOTED:
            await run_in_threadpool(self._note_use, row, now)
        return Caller(row.scope, row.project, row.key_id)

    async def _row(self, key_id: str, now: datetime) -> KeyRow | None:
        known = self._known.get(key_id)
        if known is not None and abs(now - known.read_at) < BELIEVED:
            return known.row
        row = await run_in_threadpool(self._read, key_id)
        if row is not None:
            self._remember(row, now)
        return row

    def _remember(self, row: KeyRow, now: datetime) -> None:
        if len(self._known) >= REMEMBERED:
            self._known = {}
        self._known[row.key_id] = _Known(row, now)

    def _exists(self) -> bool:
        with self._store.read() as session:
            return keys.exist(session)

    def _read(self, key_id: str) -> KeyRow | None:
        with self._store.read() as session:
            return keys.find(session, key_id)

    def _read_login(self, digest: str, now: datetime) -> _Login | None:
        with self._store.read() as session:
            found = logins.find(session, digest)
        if found is None:
            return None
        login = _Login(*found, now)
        self._logins = {**(self._logins if len(self._logins) < REMEMBERED else {}), digest: login}
        return login

    def _note_use(self, row: KeyRow, now: datetime) -> None:
        """At most once a minute, also where it does not succeed: a full disk must not keep anybody from reading."""
        self._remember(replace(row, last_used_at=now), now)
        try:
            self._store.write(lambda session: keys.note_use(session, row.key_id, now))
        except ProblemError as error:
            log.warning("use of a key not noted", key_id=row.key_id, code=error.code)
