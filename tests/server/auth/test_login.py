"""The login to the dashboard: a key is exchanged for a cookie that no script reads and no other site sends."""

from __future__ import annotations

import time
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
import sqlalchemy as sa

from relumine_server.api import moving_window, rate_limit
from relumine_server.api.routes import session
from relumine_server.db import tables
from tests.helpers.two_project_server import NOTE


@pytest.fixture(autouse=True)
def delays(monkeypatch):
    """The delay of each attempt, in seconds; the tests do not wait for it."""
    delays_s = []

    async def sleep(seconds):
        delays_s.append(seconds)

    monkeypatch.setattr(session.asyncio, "sleep", sleep)
    return delays_s


def log_in(server, key, **headers):
    return server.call("POST", "/v1/session", json={"key": server.keys.get(key, key)}, headers=headers)


def cookie(response):
    [(name, morsel)] = SimpleCookie(response.headers["set-cookie"]).items()
    return name, morsel


def with_cookie(response, **more):
    name, morsel = cookie(response)
    return {"cookie": f"{name}={morsel.value}", **more}


def test_a_login_returns_a_cookie_that_allows_the_same_as_the_key(server):
    response = log_in(server, "read")
    assert response.json() == {"needed": True, "scope": "read", "project": None, "key_id": server.ids["read"]}
    name, morsel = cookie(response)
    assert (name, morsel["path"], morsel["httponly"], morsel["samesite"]) == ("relumine", "/", True, "strict")
    assert (morsel["secure"], morsel["domain"], morsel["max-age"]) == ("", "", str(7 * 24 * 3600))
    headers = with_cookie(response)
    assert server.call("GET", "/v1/runs", headers=headers).status_code == 200
    assert server.call("GET", "/v1/session", headers=headers).json() == response.json()
    path = f"/v1/alerts/{server.ids['ours alert_id']}/acknowledge"
    assert server.call("POST", path, json=NOTE, headers=headers).json()["code"] == "insufficient_scope"
    bound = with_cookie(log_in(server, "ours admin"))
    assert server.call("GET", "/v1/runs/run-theirs", headers=bound).json()["code"] == "run_not_found"
    assert server.call("POST", path, json=NOTE, headers=bound).json()["state"] == "acknowledged"


def test_over_https_the_cookie_is_bound_to_the_host(server):
    server.settings = {"public_url": "https://relu.example"}
    server.__post_init__()
    response = log_in(server, "read", host="relu.example")
    name, morsel = cookie(response)
    assert (name, morsel["secure"]) == ("__Host-relumine", True)
    assert server.call("GET", "/v1/runs", headers=with_cookie(response, host="relu.example")).status_code == 200
    plain = {"cookie": f"relumine={morsel.value}", "host": "relu.example"}
    assert server.call("GET", "/v1/runs", headers=plain).status_code == 401


def test_the_stored_digest_of_a_session_is_not_accepted_as_a_cookie(server):
    value = cookie(log_in(server, "read"))[1].value
    with server.app.state.services.database.read() as connection:
        [row] = connection.execute(sa.select(tables.login_sessions)).all()
    assert value not in str(row)
    assert server.call("GET", "/v1/runs", headers={"cookie": f"relumine={row.digest}"}).status_code == 401


def test_a_session_ends_by_logout_by_expiry_or_with_its_key(server):
    logged_out, expired, revoked = (with_cookie(log_in(server, key)) for key in ("read", "read", "ours read"))
    logout = server.call("DELETE", "/v1/session", headers=logged_out)
    assert (logout.status_code, cookie(logout)[1].value, cookie(logout)[1]["max-age"]) == (204, "", "0")
    assert server.call("GET", "/v1/runs", headers=logged_out).json()["code"] == "key_missing"
    assert server.call("DELETE", f"/v1/keys/{server.ids['ours read']}", "admin").status_code == 204
    assert server.call("GET", "/v1/runs", headers=revoked).json()["code"] == "key_revoked"
    assert server.call("GET", "/v1/runs", headers=expired).status_code == 200
    server.now += timedelta(hours=168)
    assert server.call("GET", "/v1/runs", headers=expired).json()["code"] == "key_missing"
    assert log_in(server, "read").status_code == 200
    with server.app.state.services.database.read() as connection:
        stored_sessions = connection.scalar(sa.select(sa.func.count()).select_from(tables.login_sessions))
    assert stored_sessions == 1  # expired sessions were deleted


def test_another_site_cannot_use_the_cookie(server):
    headers = with_cookie(log_in(server, "admin"))
    path = f"/v1/alerts/{server.ids['ours alert_id']}/acknowledge"
    for foreign in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        response = server.call("POST", path, json=NOTE, headers={**headers, **foreign})
        assert (response.status_code, response.json()["code"]) == (403, "cross_site_request")
        assert log_in(server, "admin", **foreign).json()["code"] == "cross_site_request"
    same_origin = {**headers, "sec-fetch-site": "same-origin", "origin": "http://localhost"}
    assert server.call("POST", path, json=NOTE, headers=same_origin).status_code == 200


def test_a_write_key_logs_in_and_acknowledges_in_the_browser(server):
    response = log_in(server, "ours write")
    assert response.json()["scope"] == "write"
    path = f"/v1/alerts/{server.ids['ours alert_id']}/acknowledge"
    assert server.call("POST", path, json=NOTE, headers=with_cookie(response)).status_code == 200
    assert server.call("GET", "/v1/webhooks", headers=with_cookie(response)).json()["code"] == "insufficient_scope"


def test_a_key_takes_precedence_over_a_cookie(server):
    headers = with_cookie(log_in(server, "admin"))
    assert server.call("GET", "/v1/keys", "read", headers=headers).json()["code"] == "insufficient_scope"


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("mistyped", 401, "key_unknown"),
        ("unknown", 401, "key_unknown"),
        ("revoked", 401, "key_revoked"),
        ("expired", 401, "key_expired"),
        ("ingest", 403, "insufficient_scope"),
        ("\x00", 401, "key_unknown"),
        ("x" * 201, 422, "invalid_request"),
    ],
)
def test_a_key_that_cannot_read_the_dashboard_gets_no_cookie(server, key, status, code):
    response = log_in(server, key)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "set-cookie" not in response.headers
    assert server.keys.get(key, key) not in response.text


def test_five_failed_logins_a_minute_are_allowed_and_each_is_delayed(server, delays, monkeypatch):
    statuses = [log_in(server, key).status_code for key in ("mistyped", "unknown", "revoked", "ingest", "expired")]
    assert statuses == [401, 401, 401, 403, 401]
    assert delays == [session.LOGIN_DELAY_S] * 5
    refused = log_in(server, "unknown")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    now = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert log_in(server, "unknown").status_code == 401


def test_failed_logins_of_an_address_never_refuse_a_valid_key(server):
    failures = [log_in(server, key).status_code for key in ("mistyped", "unknown", "revoked", "ingest") * 5]
    assert set(failures[5:]) == {429}
    assert [log_in(server, key).status_code for key in ("read", "admin") * 5] == [200] * 10


def test_a_valid_key_can_be_used_for_a_bounded_number_of_logins(server, monkeypatch):
    monkeypatch.setattr(rate_limit, "MAX_LOGINS_PER_MINUTE", 3)
    server.__post_init__()
    assert [log_in(server, "read").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert log_in(server, "admin").status_code == 200


def test_logins_are_counted_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(moving_window, "MAX_CALLERS", 3)
    attempts = rate_limit.LoginAttempts()
    for number in range(10):
        attempts.count_failed(f"other {number}")
    assert len(attempts._failed) == 3
