"""Checking a notification in a receiver: was it signed with this secret, lately, and not changed since?

Standard Webhooks, with the standard library only. It must not trust anything of the request before the
signature holds, and it must not tell by its timing how much of a signature was right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from relumine.errors import RelumineError

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[bytes | str, bytes | str]]

TOLERANCE_S = 300.0  # what Standard Webhooks recommends against replays
_PREFIX = "whsec_"
_SECRET_FROM = 24  # bytes; a shorter key is a mistake in the receiver's settings
_MAX_TIMESTAMP_DIGITS = 12


class WebhookVerificationError(RelumineError):
    """The notification is not what the server signed, or too old, or its headers are missing."""


def verify(
    headers: Headers,
    body: bytes | str,
    secret: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """The decoded notification, if its signature holds. Raises WebhookVerificationError if not.

    Args:
        headers: the request's headers in any case, as a mapping or as pairs; text or bytes.
        body: the body exactly as it was received, before any decoding of JSON.
        secret: ``whsec_…``, as shown when the webhook was created; several while one is exchanged for another.
        tolerance_s: how far the sender's clock may be from this one.
        now: seconds since the epoch; the clock's without it.

    Example:
        >>> verify({}, b"{}", "whsec_" + "A" * 44)
        Traceback (most recent call last):
        ...
        relumine.webhooks.WebhookVerificationError: the header webhook-id is missing
    """
    named = _by_name(headers)
    delivery_id, timestamp, signatures = (
        _header(named, name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    raw = _encoded(body)
    _check_age(timestamp, time.time() if now is None else now, tolerance_s)
    signed = b".".join((_encoded(delivery_id), timestamp.encode(), raw))
    expected = [hmac.new(_key(one), signed, hashlib.sha256).digest() for one in _several(secret)]
    _check_signatures(signatures, expected)
    return _document(raw)


def _by_name(headers: Headers) -> dict[str, str]:
    """Every header under its name in small letters; of two with the same name the first counts."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    named: dict[str, str] = {}
    for name, value in pairs:
        named.setdefault(_text(name).lower(), _text(value))
    return named


def _text(header: bytes | str) -> str:
    return header if isinstance(header, str) else bytes(header).decode("latin-1")


def _several(secret: str | Iterable[str]) -> list[str]:
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not secrets:
        raise WebhookVerificationError("there is no secret to check with")
    return secrets


def _header(named: Mapping[str, str], name: str) -> str:
    value = named.get(name)
    if not value:
        raise WebhookVerificationError(f"the header {name} is missing")
    return value


def _encoded(text: bytes | str) -> bytes:
    try:
        return text.encode() if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise WebhookVerificationError("the notification is not valid Unicode") from None


def _check_age(timestamp: str, now: float, tolerance_s: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_TIMESTAMP_DIGITS):
        raise WebhookVerificationError("the header webhook-timestamp is no time")
    age_s = now - int(timestamp)
    if abs(age_s) > tolerance_s:
        raise WebhookVerificationError("the notification is too old" if age_s > 0 else "the notification is too new")


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise WebhookVerificationError("the secret is no base64") from None
    if len(key) < _SECRET_FROM:
        raise WebhookVerificationError(f"the secret is shorter than {_SECRET_FROM} bytes")
    return key


def _check_signatures(signatures: str, expected: list[bytes]) -> None:
    """One of them must match; all are compared, so that the time says nothing."""
    matches = [hmac.compare_digest(ours, given) for ours in expected for given in _given(signatures)]
    if not any(matches):
        raise WebhookVerificationError(
            "no signature matches: is it the secret of this webhook, and the body untouched?"
        )


def _given(signatures: str) -> list[bytes]:
    given = []
    for part in signatures.split(" "):
        version, _, text = part.partition(",")
        if version != "v1":  # other versions are not ours to judge
            continue
        try:
            given.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            continue
    return given


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise WebhookVerificationError("the notification is signed, but no JSON") from None
    if not isinstance(document, dict):
        raise WebhookVerificationError("the notification is signed, but no JSON object")
    return document
