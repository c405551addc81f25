"""Finds out who sends a request, by its API key or by the session cookie of a browser.

What is read of a key is cached for two seconds, so that an upload does not cost a read. A key that was revoked is
therefore refused everywhere within two seconds, and at once in the process that revoked it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import structlog
from cachetools import TTLCache
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from relumine_server.auth import api_keys, session_cookie
from relumine_server.auth import repository as auth_repository
from relumine_server.auth.api_keys import KeyRow
from relumine_server.auth.permissions import ANONYMOUS, Principal
from relumine_server.clock import Clock
from relumine_server.db.database import Database
from relumine_server.errors import KeyExpired, KeyMissing, KeyRevoked, KeyUnknown, ProblemError
from relumine_server.settings import Settings

CACHE_TTL = timedelta(seconds=2)
CACHE_SIZE = 10_000  # keys; an attacker cannot fill it, because only keys that exist are cached
MAX_LOOKUPS = 4  # in the database at once: unknown keys, of which anybody may send many, must not take all threads

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)


def bearer(headers: Headers) -> str | None:
    """Return the key in an ``Authorization: Bearer`` header.

    Other schemes are left to proxies, and browsers send those without being asked.
    """
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


class _Session(NamedTuple):
    """A session of a browser, and the API key that it was opened with."""

    key_id: str
    expires_at: datetime


class Authenticator:
    """Checks keys and cookies. A server without any key is open: every caller is an admin."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._is_off = settings.insecure_no_auth
        self._has_keys = False
        self._checked_at: datetime | None = None
        self._latest = self._clock()
        self._free_lookups = asyncio.Semaphore(MAX_LOOKUPS)
        self._keys: TTLCache[str, KeyRow] = self._new_cache()
        self._sessions: TTLCache[str, _Session] = self._new_cache()

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """Return who sends this request.

        Raises KeyMissing, KeyUnknown, KeyExpired, KeyRevoked, and StorageUnavailable if the database does not answer.
        """
        if await self.is_open():
            return ANONYMOUS
        self._note_time()
        now = self._clock()
        secret = bearer(connection.headers)
        if secret is None:
            return await self._principal_of_session(session_cookie.read_cookie(connection, self._settings), now)
        return await self.principal_of(secret, now)

    def has_credentials(self, connection: HTTPConnection) -> bool:
        """Return whether a request has a key or a cookie, valid or not."""
        cookie = session_cookie.read_cookie(connection, self._settings)
        return bearer(connection.headers) is not None or cookie is not None

    async def is_open(self) -> bool:
        """Return True if no key is required: there never was one, or authentication is switched off."""
        if self._is_off:
            return True
        if self._has_keys:
            return False
        now = self._clock()
        if self._checked_at is None or abs(now - self._checked_at) >= CACHE_TTL:
            self._has_keys = await run_in_threadpool(self._read_has_keys)
            self._checked_at = now
        return not self._has_keys

    async def principal_of(self, secret: str, now: datetime) -> Principal:
        """Return the principal of a key. Raises KeyUnknown, KeyExpired, KeyRevoked."""
        self._note_time()
        presented = api_keys.read(secret)
        if presented is None:
            raise KeyUnknown
        row = await self._key(presented.key_id)
        if row is None or not hmac.compare_digest(row.digest, presented.digest):
            raise KeyUnknown
        return await self._admit(row, now)

    def forget(self) -> None:
        """Forget what is cached, after this process has changed keys or sessions. May be called from any thread.

        The caches are replaced, not cleared: the event loop may be using them, and they are not thread-safe. A read
        that is in flight stores its row in the old cache, so that a key revoked meanwhile is not cached again.
        """
        self._keys = self._new_cache()
        self._sessions = self._new_cache()
        self._checked_at = None

    def _new_cache(self) -> TTLCache[str, Any]:
        return TTLCache(CACHE_SIZE, CACHE_TTL.total_seconds(), timer=self._seconds)

    def _note_time(self) -> None:
        """Forget what is cached if the clock was set back: the entries would stay for too long."""
        now = self._clock()
        if now < self._latest:
            self.forget()
        self._latest = now

    def _seconds(self) -> float:
        return self._clock().timestamp()

    async def _principal_of_session(self, token: str | None, now: datetime) -> Principal:
        """Return the principal of a session cookie. An expired session counts as none. Raises KeyMissing."""
        if token is None:
            raise KeyMissing
        session = await self._session(api_keys.digest(token))
        if session is None or session.expires_at <= now:
            raise KeyMissing
        row = await self._key(session.key_id)
        if row is None:
            raise KeyMissing
        return await self._admit(row, now)

    async def _admit(self, row: KeyRow, now: datetime) -> Principal:
        state = row.state(now)
        if state == "revoked":
            raise KeyRevoked
        if state == "expired":
            raise KeyExpired
        if row.last_used_at is None or now - row.last_used_at >= auth_repository.USE_NOTED:
            # Cached before it is stored, and stored if possible: a full disk must not keep anybody from reading.
            self._keys[row.key_id] = replace(row, last_used_at=now)
            await run_in_threadpool(self._note_use, row.key_id, now)
        return Principal(row.scope, row.project, row.key_id)

    # Entries are read and written in the event loop alone: a thread of the pool returns what it read to the loop.

    async def _key(self, key_id: str) -> KeyRow | None:
        cache = self._keys
        row = cache.get(key_id)
        if row is None:
            row = await self._look_up(self._read_key, key_id)
            if row is not None:
                cache[key_id] = row
        return row

    async def _session(self, digest: str) -> _Session | None:
        cache = self._sessions
        session = cache.get(digest)
        if session is None:
            session = await self._look_up(self._read_session, digest)
            if session is not None:
                cache[digest] = session
        return session

    async def _look_up(self, read: Callable[[str], ResultT], name: str) -> ResultT:
        async with self._free_lookups:
            return await run_in_threadpool(read, name)

    def _read_has_keys(self) -> bool:
        with self._database.read() as connection:
            return auth_repository.any_key(connection)

    def _read_key(self, key_id: str) -> KeyRow | None:
        with self._database.read() as connection:
            return auth_repository.find_key(connection, key_id)

    def _read_session(self, digest: str) -> _Session | None:
        with self._database.read() as connection:
            row = auth_repository.find_session(connection, digest)
        return None if row is None else _Session(*row)

    def _note_use(self, key_id: str, now: datetime) -> None:
        try:
            self._database.write(lambda connection: auth_repository.note_use(connection, key_id, now))
        except ProblemError as error:
            log.warning("the latest use of a key was not stored", key_id=key_id, code=error.code)
