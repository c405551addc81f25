"""Verification of notifications in a receiver: signed with this secret, recent, and unchanged.

Standard Webhooks, with the standard library only. Nothing in the request may be trusted before the signature is
verified, and the time that takes must not reveal how much of a signature was right.
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

# Recommended by Standard Webhooks against replays.
TOLERANCE_S = 300.0
_PREFIX = "whsec_"

# A shorter key is a mistake in the receiver's settings.
_MIN_KEY_BYTES = 24
_MAX_TIMESTAMP_DIGITS = 12


class WebhookVerificationError(RelumineError):
    """The notification was not signed by the server, or changed since, or is too old, or lacks headers."""


def verify(
    headers: Headers,
    body: bytes | str,
    secret: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """Verify the signature of a notification, and return the notification decoded.

    Args:
        headers: the request's headers, as a mapping or as pairs, text or bytes; case does not matter.
        body: the body exactly as it was received, before it is decoded from JSON.
        secret: ``whsec_…``, as shown when the webhook was created; several during a rotation.
        tolerance_s: the largest difference between the sender's clock and this one.
        now: seconds since the epoch; by default those of the clock.

    Raises:
        WebhookVerificationError: no signature matches, or the notification is malformed or outside of the tolerance.

    Example:
        >>> verify({}, b"{}", "whsec_" + "A" * 44)
        Traceback (most recent call last):
        ...
        relumine.webhooks.WebhookVerificationError: the header webhook-id is missing
    """
    by_name = _by_name(headers)
    delivery_id = _header(by_name, "webhook-id")
    timestamp = _header(by_name, "webhook-timestamp")
    signatures = _header(by_name, "webhook-signature")
    raw = _encode(body)
    _check_age(timestamp, time.time() if now is None else now, tolerance_s)
    signed = b".".join((_encode(delivery_id), timestamp.encode(), raw))
    expected = [hmac.new(_key(text), signed, hashlib.sha256).digest() for text in _secrets(secret)]
    _check_signatures(signatures, expected)
    return _decode(raw)


def _by_name(headers: Headers) -> dict[str, str]:
    """Return every header by its lowercase name; of two with the same name the first."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    by_name: dict[str, str] = {}
    for name, value in pairs:
        by_name.setdefault(_text(name).lower(), _text(value))
    return by_name


def _text(header: bytes | str) -> str:
    return header if isinstance(header, str) else bytes(header).decode("latin-1")


def _secrets(secret: str | Iterable[str]) -> list[str]:
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not secrets:
        raise WebhookVerificationError("no secret was given to verify with")
    return secrets


def _header(by_name: Mapping[str, str], name: str) -> str:
    value = by_name.get(name)
    if not value:
        raise WebhookVerificationError(f"the header {name} is missing")
    return value


def _encode(text: bytes | str) -> bytes:
    try:
        return text.encode() if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise WebhookVerificationError("the notification is not valid Unicode") from None


def _check_age(timestamp: str, now: float, tolerance_s: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_TIMESTAMP_DIGITS):
        raise WebhookVerificationError("the header webhook-timestamp is not a time")
    age_s = now - int(timestamp)
    if age_s > tolerance_s:
        raise WebhookVerificationError("the notification is too old")
    if age_s < -tolerance_s:
        raise WebhookVerificationError("the notification is too new")


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise WebhookVerificationError("the secret is not base64") from None
    if len(key) < _MIN_KEY_BYTES:
        raise WebhookVerificationError(f"the secret is shorter than {_MIN_KEY_BYTES} bytes")
    return key


def _check_signatures(signatures: str, expected: list[bytes]) -> None:
    """Raise unless one signature matches. All are compared, so that the time taken reveals nothing."""
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in _decode_signatures(signatures)]
    if not any(matches):
        raise WebhookVerificationError(
            "no signature matches: is this the secret of this webhook, and is the body unchanged?"
        )


def _decode_signatures(signatures: str) -> list[bytes]:
    """Return the signatures of version 1 in a header."""
    decoded = []
    for part in signatures.split(" "):
        version, _, text = part.partition(",")
        if version != "v1":
            continue
        try:
            decoded.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            continue
    return decoded


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise WebhookVerificationError("the notification is signed, but is not JSON") from None
    if not isinstance(document, dict):
        raise WebhookVerificationError("the notification is signed, but is not a JSON object")
    return document
