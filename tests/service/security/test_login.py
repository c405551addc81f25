"""The page's login: a key for a cookie that no script reads and no other site sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import pytest
import sqlalchemy as sa
from keyed_server import NOTE

from relumine_server.api import login
from relumine_server.storage import tables as t


@pytest.fixture(autouse=True)
def delays(monkeypatch):
    """How long each attempt was held up; nobody waits for it here."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(login.asyncio, "sleep", sleep)
    return slept


def log_in(house, key, **headers):
    return house.call("POST", "/v1/login", json={"key": house.keys.get(key, key)}, headers=headers)


def cookie(answer):
    [(name, found)] = SimpleCookie(answer.headers["set-cookie"]).items()
    return name, found


def with_cookie(answer, **more):
    name, found = cookie(answer)
    return {"cookie": f"{name}={found.value}", **more}


def test_a_key_becomes_a_cookie_that_allows_what_the_key_allows(house):
    answer = log_in(house, "read")
    assert answer.json() == {"needed": True, "scope": "read", "project": None, "key_id": house.ids["read"]}
    name, found = cookie(answer)
    assert (name, found["path"], found["httponly"], found["samesite"]) == ("relumine", "/", True, "strict")
    assert (found["secure"], found["domain"], found["max-age"]) == ("", "", str(7 * 24 * 3600))
    headers = with_cookie(answer)
    assert house.call("GET", "/v1/runs", headers=headers).status_code == 200
    assert house.call("GET", "/v1/login", headers=headers).json() == answer.json()
    path = f"/v1/alerts/{house.ids['ours alert_id']}/acknowledge"
    assert house.call("POST", path, json=NOTE, headers=headers).json()["code"] == "scope_too_small"
    bound = with_cookie(log_in(house, "ours admin"))
    assert house.call("GET", "/v1/runs/run-theirs", headers=bound).json()["code"] == "run_not_found"
    assert house.call("POST", path, json=NOTE, headers=bound).json()["state"] == "acknowledged"


def test_over_https_the_cookie_is_bound_to_the_host(house):
    house.settings = {"public_url": "https://relu.example"}
    house.app.state.store.close()
    house.__post_init__()
    answer = log_in(house, "read", host="relu.example")
    name, found = cookie(answer)
    assert (name, found["secure"]) == ("__Host-relumine", True)
    assert house.call("GET", "/v1/runs", headers=with_cookie(answer, host="relu.example")).status_code == 200
    plain = {"cookie": f"relumine={found.value}", "host": "relu.example"}
    assert house.call("GET", "/v1/runs", headers=plain).status_code == 401


def test_what_is_stored_of_a_login_opens_nothing(house):
    value = cookie(log_in(house, "read"))[1].value
    with house.app.state.store.read() as session:
        [row] = session.execute(sa.select(t.logins)).all()
    assert value not in str(row)
    assert house.call("GET", "/v1/runs", headers={"cookie": f"relumine={row.digest}"}).status_code == 401


def test_a_login_ends_when_it_is_left_or_over_or_its_key_is_gone(house):
    left, over, gone = (with_cookie(log_in(house, key)) for key in ("read", "read", "ours read"))
    away = house.call("DELETE", "/v1/login", headers=left)
    assert (away.status_code, cookie(away)[1].value, cookie(away)[1]["max-age"]) == (204, "", "0")
    assert house.call("GET", "/v1/runs", headers=left).json()["code"] == "key_missing"
    assert house.call("DELETE", f"/v1/keys/{house.ids['ours read']}", "admin").status_code == 204
    assert house.call("GET", "/v1/runs", headers=gone).json()["code"] == "key_revoked"
    assert house.call("GET", "/v1/runs", headers=over).status_code == 200
    house.now += timedelta(hours=168)
    assert house.call("GET", "/v1/runs", headers=over).json()["code"] == "key_missing"
    assert log_in(house, "read").status_code == 200
    with house.app.state.store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(t.logins)) == 1  # those that are over went


def test_a_cookie_does_nothing_for_another_site(house):
    headers = with_cookie(log_in(house, "admin"))
    path = f"/v1/alerts/{house.ids['ours alert_id']}/acknowledge"
    for foreign in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        answer = house.call("POST", path, json=NOTE, headers={**headers, **foreign})
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
        assert log_in(house, "admin", **foreign).json()["code"] == "cross_site"
    own = {**headers, "sec-fetch-site": "same-origin", "origin": "http://localhost"}
    assert house.call("POST", path, json=NOTE, headers=own).status_code == 200


def test_a_key_beside_a_cookie_counts_alone(house):
    headers = with_cookie(log_in(house, "admin"))
    assert house.call("GET", "/v1/keys", "read", headers=headers).json()["code"] == "scope_too_small"


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("mistyped", 401, "key_unknown"),
        ("unknown", 401, "key_unknown"),
        ("revoked", 401, "key_revoked"),
        ("expired", 401, "key_expired"),
        ("ingest", 403, "scope_too_small"),
        ("\x00", 401, "key_unknown"),
        ("x" * 201, 422, "invalid_request"),
    ],
)
def test_what_is_no_key_for_the_page_gets_no_cookie(house, key, status, code):
    answer = log_in(house, key)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "set-cookie" not in answer.headers
    assert house.keys.get(key, key) not in answer.text


def test_five_attempts_a_minute_and_each_takes_as_long(house, delays):
    answers = [log_in(house, key).status_code for key in ("read", "mistyped", "unknown", "revoked", "ingest", "read")]
    assert answers == [200, 401, 401, 401, 403, 429]
    assert delays == [login.DELAY_S] * 5
    refused = log_in(house, "read")
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_attempts", "60")
    house.now += timedelta(seconds=60)
    assert log_in(house, "read").status_code == 200


def test_attempts_are_counted_by_address_and_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(login, "ADDRESSES", 3)
    attempts = login.Attempts(lambda: datetime(2026, 6, 1, tzinfo=UTC))
    for address in ["a", "b", "c", "d"] * login.ATTEMPTS:
        attempts.take(address)
    assert len(attempts._tried) == 3
    for _ in range(login.ATTEMPTS):
        attempts.take("e")
    with pytest.raises(login.TooManyAttempts):
        attempts.take("e")
    attempts.take("f")
