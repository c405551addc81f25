"""API keys over HTTP: make, list, revoke. A key is shown once, in the answer that made it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from relumine.views import Page
from relumine_server import credentials
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, KeyringDep, OwnProject, StoreDep
from relumine_server.api.schemas import Cursor, Limit, Moment, Sent, ShortName
from relumine_server.credentials import Scope
from relumine_server.errors import (
    BadCursor,
    FirstKeyMustBeAdmin,
    InvalidKey,
    KeyNotFound,
    LastAdminKey,
    OtherProject,
)
from relumine_server.storage import keys
from relumine_server.storage.keys import KeyRow

router = APIRouter(prefix="/v1/keys", tags=["keys"])

KeyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]


class NewKey(Sent):
    """What a key may do, in which project (all of them without one), what it is for, and until when."""

    scope: Scope
    project: ShortName | None = None
    name: ShortName | None = None
    expires_at: Moment | None = None


class Key(BaseModel):
    """A key. ``key`` itself is given once, by the answer that made it; ``key_id`` begins with its first characters."""

    key_id: str
    scope: Scope
    project: str | None
    name: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    key: str | None = None


@router.post("", status_code=201, responses=problems.responses(InvalidKey, OtherProject, FirstKeyMustBeAdmin))
def create_key(body: NewKey, store: StoreDep, clock: ClockDep, keyring: KeyringDep, own: OwnProject) -> Key:
    """Make a key. The first one must be an admin key of no project; from then on every request needs one."""
    if own is not None and body.project not in (None, own):
        raise OtherProject("a key of one project makes keys of that project only")
    now = clock()
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidKey("expires_at has passed")
    secret, row = made(body.scope, body.project or own, body.name, now, body.expires_at)
    store.write(lambda session: keys.insert(session, row))
    keyring.forget()
    return _view(row, secret)


@router.get("", responses=problems.responses(BadCursor))
def list_keys(store: StoreDep, own: OwnProject, cursor: Cursor = None, limit: Limit = 50) -> Page[Key]:
    """All keys in the order of their creation, also those that expired or were revoked; never a key itself."""
    after = cursors.decode(cursor, 2)
    with store.read() as session:
        found = keys.page(session, project=own, after=after, limit=limit + 1)
    more = found[limit - 1] if len(found) > limit else None
    next_cursor = cursors.encode([more.created_at, more.key_id]) if more else None
    return Page[Key](items=[_view(row) for row in found[:limit]], next_cursor=next_cursor)


@router.delete("/{key_id}", status_code=204, responses=problems.responses(KeyNotFound, LastAdminKey))
def revoke_key(key_id: KeyId, store: StoreDep, clock: ClockDep, keyring: KeyringDep) -> Response:
    """Make a key worthless: here at once, in other server processes within two seconds. It stays in the list."""
    if not store.write(lambda session: keys.revoke(session, key_id, clock())):
        raise KeyNotFound
    keyring.forget()
    return Response(status_code=204)


def made(
    scope: Scope, project: str | None, name: str | None, now: datetime, expires_at: datetime | None
) -> tuple[str, KeyRow]:
    """A new key and its row."""
    secret = credentials.new(scope)
    shown = credentials.read(secret)
    assert shown is not None  # it was just written  # noqa: S101
    return secret, KeyRow(shown.key_id, shown.digest, scope, project, name, now, expires_at)


def _view(row: KeyRow, secret: str | None = None) -> Key:
    return Key(
        key_id=row.key_id,
        scope=row.scope,
        project=row.project,
        name=row.name,
        created_at=_moment(row.created_at) or "",
        expires_at=_moment(row.expires_at),
        revoked_at=_moment(row.revoked_at),
        last_used_at=_moment(row.last_used_at),
        key=secret,
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
