"""What a receiver checks with ``relumine.verify_webhook``, against the official library."""

from __future__ import annotations

import base64
import email.message
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

import relumine
from relumine.webhooks import WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = json.dumps({"type": "alert.firing", "data": {"n": 1}})


def signed(secret=SECRET, body=BODY, at=None):
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", at, body)
    return {"Webhook-Id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_what_the_official_library_signed_is_accepted():
    assert relumine.verify_webhook(signed(), BODY, SECRET) == json.loads(BODY)
    assert relumine.verify_webhook(signed(), BODY.encode(), SECRET)["type"] == "alert.firing"


def test_one_good_signature_among_several_is_enough():
    headers = signed()
    headers["webhook-signature"] = signed(OTHER)["webhook-signature"] + " " + headers["webhook-signature"]
    assert relumine.verify_webhook(headers, BODY, SECRET)


def test_while_a_secret_is_exchanged_old_and_new_receivers_are_served():
    both = signed()
    both["webhook-signature"] += " " + signed(OTHER)["webhook-signature"]
    for secret in (SECRET, OTHER, [SECRET, OTHER], (OTHER,), iter([OTHER, SECRET])):
        assert relumine.verify_webhook(both, BODY, secret)
    assert relumine.verify_webhook(signed(), BODY, [OTHER, SECRET])
    with pytest.raises(WebhookVerificationError, match="no secret"):
        relumine.verify_webhook(both, BODY, [])


def test_headers_come_as_frameworks_have_them():
    headers = signed()
    message = email.message.Message()  # what http.server gives
    for name, value in headers.items():
        message[name] = value
    asgi = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    shouted = {name.upper(): value for name, value in headers.items()}
    for form in (headers, shouted, message, asgi, httpx.Headers(headers)):
        assert relumine.verify_webhook(form, BODY, SECRET)["type"] == "alert.firing"


@pytest.mark.parametrize(
    ("minutes", "changed", "body", "secret"),
    [
        (0, {}, BODY + " ", SECRET),
        (0, {}, BODY, OTHER),
        (-6, {}, BODY, SECRET),
        (6, {}, BODY, SECRET),
        (0, {"webhook-signature": "v1,"}, BODY, SECRET),
        (0, {"webhook-signature": "v2,xx"}, BODY, SECRET),
        (0, {"webhook-timestamp": "now"}, BODY, SECRET),
        (0, {}, BODY, "whsec_short"),
    ],
)
def test_everything_else_is_refused(minutes, changed, body, secret):
    headers = signed(at=datetime.now(UTC) + timedelta(minutes=minutes)) | changed
    with pytest.raises(WebhookVerificationError):
        relumine.verify_webhook(headers, body, secret)


def test_a_message_without_headers_is_refused():
    with pytest.raises(WebhookVerificationError):
        relumine.verify_webhook({}, BODY, SECRET)
