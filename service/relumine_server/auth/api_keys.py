"""API keys: ``rlm_<scope>_<30 letters and digits><6 characters of a checksum>``. Knows no database.

The first eight of the thirty characters name the key in lists and logs. The other 22 (131 bits) and the checksum are
the secret; only a digest of the whole key is stored.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, NamedTuple, cast, get_args

from relumine.schemas.scope import Scope

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARS = 30
CHECKSUM_CHARS = 6
ID_CHARS = 8

_KEY = re.compile(
    rf"(rlm_({'|'.join(get_args(Scope))})_([0-9A-Za-z]{{{RANDOM_CHARS}}}))([0-9A-Za-z]{{{CHECKSUM_CHARS}}})", re.ASCII
)


class PresentedKey(NamedTuple):
    """A well-formed key as a caller presents it. It may not exist."""

    key_id: str
    scope: Scope
    digest: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A stored key, without its secret."""

    key_id: str
    digest: str
    scope: Scope
    project: str | None
    name: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return whether the key can be used."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def new_key(
    scope: Scope, project: str | None, name: str | None, *, now: datetime, expires_at: datetime | None
) -> tuple[str, KeyRow]:
    """Create a key: its secret, which is shown once, and its row."""
    secret = new_secret(scope)
    presented = read(secret)
    assert presented is not None  # it has the right form  # noqa: S101
    row = KeyRow(
        key_id=presented.key_id,
        digest=presented.digest,
        scope=scope,
        project=project,
        name=name,
        created_at=now,
        expires_at=expires_at,
    )
    return secret, row


def new_secret(scope: Scope) -> str:
    """Return a random key."""
    text = f"rlm_{scope}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return text + checksum(text)


def read(text: str) -> PresentedKey | None:
    """Parse a key; None if it is malformed or mistyped. The database is not asked."""
    match = _KEY.fullmatch(text)
    if match is None or checksum(match[1]) != match[4]:
        return None
    return PresentedKey(f"key_{match[3][:ID_CHARS]}", cast("Scope", match[2]), digest(text))


def digest(secret: str) -> str:
    """Return what is stored of a secret. A fast hash is enough: unlike a password, a key has too many bits to guess."""
    return sha256(secret.encode()).hexdigest()


def checksum(text: str) -> str:
    """Return the CRC32 of ``text`` in base 62, six characters. It tells a mistyped key from an unknown one."""
    rest = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECKSUM_CHARS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
