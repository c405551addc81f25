"""Requests are counted by key, or by address without one, and nobody uses up what belongs to a valid key."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from relumine_server.api import moving_window
from relumine_server.api.moving_window import SLOTS, MovingWindow
from relumine_server.api.rate_limit import WINDOW_S, RateLimiter, client_address
from relumine_server.errors import TooManyRequests
from relumine_server.net.clients import UNKNOWN

MANY = 3 * WINDOW_S


@pytest.fixture
def busy_server(server):
    """The server with a limit of one request per second."""
    server.settings = {"requests_per_second": 1}
    server.__post_init__()
    return server


WRONG = (None, "mistyped", "unknown", "revoked", "expired", "not a key")


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_keys_of_an_address_never_refuse_a_valid_key_of_it(busy_server, wrong):
    statuses = [busy_server.call("GET", "/v1/runs", wrong).status_code for _ in range(MANY)]
    assert statuses == [401] * WINDOW_S + [429] * (MANY - WINDOW_S)
    for key in ("read", "admin", "ours read"):
        assert busy_server.call("GET", "/v1/runs", key).status_code == 200, key
    assert busy_server.call("POST", "/v1/uploads", "ingest", json={}).status_code == 422
    assert busy_server.call("POST", "/v1/session", json={"key": busy_server.keys["read"]}).status_code == 200


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/session"), ("GET", "/"), ("POST", "/v1/session")])
def test_wrong_keys_on_public_routes_never_refuse_a_valid_key_of_the_address(
    busy_server, method, path, wrong, monkeypatch
):
    monkeypatch.setattr("relumine_server.api.routes.session.LOGIN_DELAY_S", 0)
    body = {"json": {"key": "wrong"}} if method == "POST" else {}
    statuses = {busy_server.call(method, path, wrong, **body).status_code for _ in range(MANY)}
    assert 429 in statuses
    login = busy_server.call("POST", "/v1/session", json={"key": busy_server.keys["read"]})
    assert login.status_code == 200
    cookie = {"cookie": login.headers["set-cookie"].split(";")[0]}
    assert busy_server.call("GET", "/v1/session", headers=cookie).json()["scope"] == "read"
    for route in ("/v1/session", "/v1/runs", "/"):
        assert busy_server.call("GET", route, "admin").status_code == 200, route


def test_a_mistyped_key_costs_no_query(busy_server):
    statements = []
    busy_server.call("GET", "/v1/runs", "read")  # the server knows that it has keys
    sa.event.listen(busy_server.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for key in ("mistyped", "not a key", None):
        assert busy_server.call("GET", "/v1/runs", key).status_code == 401
    assert statements == []


def test_a_valid_key_is_counted_by_itself_on_public_routes(busy_server):
    statuses = [busy_server.call("GET", "/v1/session", "read").status_code for _ in range(WINDOW_S + 1)]
    assert statuses == [200] * WINDOW_S + [429]
    assert busy_server.call("GET", "/v1/session", "admin").status_code == 200
    assert busy_server.call("GET", "/v1/session").status_code == 200


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def test_a_window_moves_on():
    clock = Clock()
    window = MovingWindow(10, 10, now=clock)
    assert [window.hit("a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert window.wait_s("a") == 10
    clock.seconds += 5
    assert not window.hit("a")
    assert window.wait_s("a") == 5
    clock.seconds += 5
    assert window.hit("a")
    assert window.hit("b")
    assert window.wait_s("nobody") == 1


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.7, 40.0])
def test_never_more_than_the_limit_passes_within_a_window(rate):
    clock = Clock()
    window = MovingWindow(10, 10, now=clock)
    admitted = []
    for _ in range(2000):
        clock.seconds += 1 / rate
        if window.hit("a"):
            admitted.append(clock.seconds)
    for first, eleventh in zip(admitted, admitted[10:], strict=False):
        assert eleventh - first >= 10 * (1 - 1 / SLOTS) - 1e-6
    if rate < 1:
        assert len(admitted) == 2000
    assert len(window._callers["a"].by_slot) <= SLOTS


@pytest.mark.parametrize("change_s", [-86_400, -5, 5, 86_400])
def test_a_clock_that_is_set_refuses_nobody(monkeypatch, change_s):
    limiter = RateLimiter(1)
    for _ in range(WINDOW_S - 1):
        limiter.take("a")
    changed = time.time() + change_s
    monkeypatch.setattr(time, "time", lambda: changed)
    limiter.take("a")
    with pytest.raises(TooManyRequests) as refused:
        limiter.take("a")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= WINDOW_S


def test_a_bounded_number_of_callers_is_tracked_and_the_active_ones_stay(monkeypatch):
    monkeypatch.setattr(moving_window, "MAX_CALLERS", 10)
    window = MovingWindow(1, 10)
    assert window.hit("active")
    for number in range(100):
        window.hit(str(number))
        assert not window.hit("active")
    assert len(window) == 10


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::1%" + "x" * 10_000, UNKNOWN),
        ("x" * 50_000, UNKNOWN),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("192.0.2.1:80", UNKNOWN),
    ],
)
def test_a_client_is_counted_by_its_address_or_by_its_ipv6_network(text, counted):
    assert client_address((text, 1)) == counted
    assert client_address(None) == UNKNOWN
