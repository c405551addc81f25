"""``/v1/keys``: create, list and revoke API keys. A key is shown once, in the response that created it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response

from relumine.schemas.base import Page, rfc3339
from relumine.schemas.key import Key
from relumine.schemas.scope import Scope
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import AuthenticatorDep, ClockDep, DatabaseDep, KeyProject
from relumine_server.api.schemas.common import Cursor, Limit, RequestBody, ShortName, UtcTime
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.auth import repository as auth_repository
from relumine_server.auth.api_keys import KeyRow, new_key
from relumine_server.errors import (
    FirstKeyMustBeAdmin,
    InvalidCursor,
    InvalidKey,
    KeyNotFound,
    LastAdminKey,
    ProjectForbidden,
)

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=StrictQueryRoute)

KeyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]


class NewKey(RequestBody):
    """The scope of a key, its project (all projects without one), its name, and when it expires."""

    scope: Scope
    project: ShortName | None = None
    name: ShortName | None = None
    expires_at: UtcTime | None = None


@router.post(
    "", status_code=201, responses=problem_details.responses(InvalidKey, ProjectForbidden, FirstKeyMustBeAdmin)
)
def create_key(
    body: NewKey, database: DatabaseDep, clock: ClockDep, authenticator: AuthenticatorDep, key_project: KeyProject
) -> Key:
    """Create a key. The first one must be an admin key of all projects; from then on every request needs a key."""
    if key_project is not None and body.project not in (None, key_project):
        raise ProjectForbidden("a key that is bound to a project can only create keys for that project")
    now = clock()
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidKey("expires_at has passed")
    secret, row = new_key(body.scope, body.project or key_project, body.name, now=now, expires_at=body.expires_at)
    database.write(lambda connection: auth_repository.insert_key(connection, row))
    authenticator.forget()
    return _view(row, secret)


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_keys(database: DatabaseDep, project: KeyProject, cursor: Cursor = None, limit: Limit = 50) -> Page[Key]:
    """List keys in the order of their creation, expired and revoked ones included, without their secrets."""
    position = pagination.decode(cursor, datetime, str)
    with database.read() as connection:
        rows = auth_repository.page_keys(connection, project=project, position=position, limit=limit)
    rows, next_cursor = pagination.cut(rows, limit, lambda row: (row.created_at, row.key_id))
    return Page[Key](items=[_view(row) for row in rows], next_cursor=next_cursor)


@router.delete("/{key_id}", status_code=204, responses=problem_details.responses(KeyNotFound, LastAdminKey))
def revoke_key(key_id: KeyId, database: DatabaseDep, clock: ClockDep, authenticator: AuthenticatorDep) -> Response:
    """Revoke a key: at once in this server process, within two seconds in others. It stays in the list."""
    if not database.write(lambda connection: auth_repository.revoke(connection, key_id, clock)):
        raise KeyNotFound
    authenticator.forget()
    return Response(status_code=204)


def _view(row: KeyRow, secret: str | None = None) -> Key:
    return Key(
        key_id=row.key_id,
        scope=row.scope,
        project=row.project,
        name=row.name,
        created_at=rfc3339(row.created_at),
        expires_at=rfc3339(row.expires_at),
        revoked_at=rfc3339(row.revoked_at),
        last_used_at=rfc3339(row.last_used_at),
        key=secret,
    )
