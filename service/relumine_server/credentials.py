"""What a key looks like: ``rlm_<scope>_<30 letters and digits><6 of a checksum>``. Knows no database.

The first eight of the thirty name the key in lists and logs; the other 22 (131 bits) and the checksum never leave it.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias, cast

Scope: TypeAlias = Literal["ingest", "read", "admin"]

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARS, CHECK_CHARS, ID_CHARS = 30, 6, 8

_KEY = re.compile(rf"(rlm_(ingest|read|admin)_([0-9A-Za-z]{{{RANDOM_CHARS}}}))([0-9A-Za-z]{{{CHECK_CHARS}}})", re.ASCII)


class Presented(NamedTuple):
    """A key as somebody shows it: well formed, which does not mean that there is such a key."""

    key_id: str
    scope: Scope
    digest: str


def new(scope: Scope) -> str:
    """A key that nobody has."""
    begin = f"rlm_{scope}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return begin + checksum(begin)


def read(text: str) -> Presented | None:
    """What a text says if it is a key; None for one that is mistyped, without asking the database."""
    found = _KEY.fullmatch(text)
    if found is None or checksum(found[1]) != found[4]:
        return None
    return Presented(f"key_{found[3][:ID_CHARS]}", cast("Scope", found[2]), digest(text))


def digest(secret: str) -> str:
    """What is stored of a secret. Fast on purpose: a key has too many bits to be guessed, unlike a password."""
    return sha256(secret.encode()).hexdigest()


def checksum(text: str) -> str:
    """CRC32 in base 62, six characters: it tells a mistyped key from an unknown one."""
    rest, said = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_CHARS):
        rest, place = divmod(rest, len(ALPHABET))
        said = ALPHABET[place] + said
    return said
