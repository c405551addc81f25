"""API keys as the server answers them, and the rights of a request."""

from __future__ import annotations

from relumine.schemas.base import View
from relumine.schemas.scope import Scope


class Key(View):
    """A key. ``key`` is the secret, in the response that created it only; ``key_id`` contains its first characters."""

    key_id: str
    scope: Scope
    project: str | None
    name: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    key: str | None


class CurrentSession(View):
    """The rights of a request's key, null without one; ``needed`` is true if this server requires a key."""

    needed: bool
    scope: Scope | None
    project: str | None
    key_id: str | None
