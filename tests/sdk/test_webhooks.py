"""``relumine.verify_webhook``, against signatures of the official library."""

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


def signed(secret=SECRET, body=BODY, timestamp=None):
    timestamp = timestamp or datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", timestamp, body)
    return {"Webhook-Id": "msg_1", "webhook-timestamp": str(int(timestamp.timestamp())), "webhook-signature": signature}


def test_a_signature_of_the_official_library_is_accepted():
    assert relumine.verify_webhook(signed(), BODY, SECRET) == json.loads(BODY)
    assert relumine.verify_webhook(signed(), BODY.encode(), SECRET)["type"] == "alert.firing"


def test_one_valid_signature_among_several_is_enough():
    headers = signed()
    headers["webhook-signature"] = signed(OTHER)["webhook-signature"] + " " + headers["webhook-signature"]
    assert relumine.verify_webhook(headers, BODY, SECRET)


def test_during_a_rotation_receivers_with_either_secret_are_served():
    both = signed()
    both["webhook-signature"] += " " + signed(OTHER)["webhook-signature"]
    for secret in (SECRET, OTHER, [SECRET, OTHER], (OTHER,), iter([OTHER, SECRET])):
        assert relumine.verify_webhook(both, BODY, secret)
    assert relumine.verify_webhook(signed(), BODY, [OTHER, SECRET])
    with pytest.raises(WebhookVerificationError, match="no secret"):
        relumine.verify_webhook(both, BODY, [])


def test_headers_are_accepted_in_the_forms_of_all_frameworks():
    headers = signed()
    message = email.message.Message()  # what http.server gives
    for name, value in headers.items():
        message[name] = value
    asgi = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    uppercase = {name.upper(): value for name, value in headers.items()}
    for form in (headers, uppercase, message, asgi, httpx.Headers(headers)):
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
def test_anything_else_is_refused(minutes, changed, body, secret):
    headers = signed(timestamp=datetime.now(UTC) + timedelta(minutes=minutes)) | changed
    with pytest.raises(WebhookVerificationError):
        relumine.verify_webhook(headers, body, secret)


def test_a_message_without_headers_is_refused():
    with pytest.raises(WebhookVerificationError):
        relumine.verify_webhook({}, BODY, SECRET)
