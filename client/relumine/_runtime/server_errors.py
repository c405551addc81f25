"""Sentences about a server that cannot be used: what is wrong, with its address, and what helps."""

from __future__ import annotations

import re

REASONS = {"key_expired": "it has expired", "key_revoked": "it was revoked"}


def unreachable(url: str, error: BaseException) -> str:
    """Return that a server cannot be reached, and why; the name of an exception only where it gave no reason."""
    reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)).strip() or type(error).__name__
    if reason[1:2].islower():
        reason = reason[0].lower() + reason[1:]
    return f"cannot reach {url} ({reason})"


def start_hint(command: str, setting: str) -> str:
    """Return what helps where nothing answers: the command that starts a server, and the setting of the address."""
    return f"Is `{command}` running there? {setting} sets the address."


def key_problem(url: str, code: str, *, has_key: bool) -> str:
    """Return what is wrong with the API key of a request that was refused with status 401."""
    if not has_key:
        return f"{url} requires an API key, and none is set"
    return f"{url} does not accept this API key: {REASONS.get(code, 'the server does not know it')}"


def key_hint(scope: str, *, has_key: bool) -> str:
    """Return what helps with a missing or an invalid key."""
    if not has_key:
        return (
            f"Set RELUMINE_API_KEY to a key of scope {scope}; on the server's machine, "
            f"`relumine-server keys create --scope {scope}` creates one."
        )
    return "Set RELUMINE_API_KEY to a valid key; on the server's machine, `relumine-server keys list` lists them."
