"""The signature of a notification after Standard Webhooks, made by the ``standardwebhooks`` library.

Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor

from standardwebhooks import Webhook


def signed_headers(*, delivery_id: str, body: str, secrets: Sequence[str], timestamp: datetime) -> dict[str, str]:
    """Return the headers of one attempt. Several secrets give several signatures, so that a secret can be rotated.

    ``delivery_id`` is the same for every attempt, ``timestamp`` is the time of this one. Raises ValueError for a time
    without a zone, and for an id with a dot, because the dot separates the signed parts.
    """
    if timestamp.tzinfo is None:
        raise ValueError("a naive time cannot be signed")
    if "." in delivery_id:
        raise ValueError("a delivery id contains no dot")
    in_utc = timestamp.astimezone(UTC)  # the library reads any zone as UTC, and would sign the wrong second
    signatures = [Webhook(secret).sign(delivery_id, in_utc, body) for secret in secrets]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(floor(in_utc.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
