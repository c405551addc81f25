"""The signature of a notification: Standard Webhooks, made by the ``standardwebhooks`` library.

Pure: the time is an argument. It must not read a clock, and it never sees a socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor

from standardwebhooks import Webhook


def signed_headers(*, delivery_id: str, body: str, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """The headers of one attempt. Several secrets give several signatures, so that a secret can be rotated.

    ``delivery_id`` is the same on every attempt, ``at`` is the moment of this one. Raises ValueError for a
    naive time, and for an id with a dot: the dot separates the signed parts.
    """
    if at.tzinfo is None:
        raise ValueError("a naive time cannot be signed")
    if "." in delivery_id:
        raise ValueError("a delivery id holds no dot")
    moment = at.astimezone(UTC)  # the library reads any zone as UTC, and would sign the wrong second
    signatures = [Webhook(secret).sign(delivery_id, moment, body) for secret in secrets]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(floor(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
