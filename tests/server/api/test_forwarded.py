"""``X-Forwarded-*`` headers count where a setting names the proxy that sent them, and nowhere else."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from relumine_server.api.middleware.forwarded import ForwardedMiddleware
from relumine_server.api.rate_limit import MAX_FAILED_LOGINS_PER_MINUTE
from relumine_server.net.clients import parse_proxies
from tests.helpers.live_server import listening

LIMIT = MAX_FAILED_LOGINS_PER_MINUTE


@pytest.fixture(autouse=True)
def without_delay(monkeypatch):
    monkeypatch.setattr("relumine_server.api.routes.session.LOGIN_DELAY_S", 0)


@pytest.fixture
def log_in(new_database):
    """A function that starts a server with settings and sends it a login with a wrong key for each client."""

    def send(clients, **settings):
        with listening(new_database("sqlite"), **settings) as url, httpx.Client(base_url=url) as client:
            admin = client.post("/v1/keys", json={"scope": "admin"}).json()["key"]
            bodies = [({"x-forwarded-for": address}, {"key": "wrong"}) for address in clients]
            statuses = [client.post("/v1/session", headers=headers, json=body).status_code for headers, body in bodies]
            login = client.post("/v1/session", headers={"x-forwarded-proto": "https"}, json={"key": admin})
            assert login.status_code == 200
            return statuses, login.headers["set-cookie"].split("=")[0]

    return send


def test_by_default_no_proxy_is_believed_whatever_the_environment_of_uvicorn_says(log_in, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    for settings in ({}, {"trusted_proxies": "192.0.2.1, 10.0.0.0/8"}):
        statuses, cookie = log_in([f"203.0.113.{number}" for number in range(LIMIT + 3)], **settings)
        assert (statuses, cookie) == ([401] * LIMIT + [429] * 3, "relumine")


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8, 10.0.0.0/8"])
def test_a_named_proxy_is_believed(log_in, trusted):
    addresses = [f"203.0.113.{number}" for number in range(LIMIT + 3)]
    assert log_in(addresses, trusted_proxies=trusted) == ([401] * len(addresses), "__Host-relumine")


@pytest.mark.parametrize(
    "clients",
    [
        [f"2001:db8::{number:x}:1" for number in range(LIMIT + 3)],  # one /64 network
        [f"198.51.100.{number}, 203.0.113.1" for number in range(LIMIT + 3)],  # the client wrote the first address
        [f"203.0.113.1:{number}" for number in range(LIMIT + 3)],
        [f"no address {number}" for number in range(LIMIT + 3)],
    ],
)
def test_behind_a_named_proxy_a_client_is_counted_once(log_in, clients):
    statuses, _ = log_in(clients, trusted_proxies="127.0.0.1")
    assert statuses == [401] * LIMIT + [429] * 3


async def scheme_behind(protos):
    seen = {}

    async def app(scope, _receive, _send):
        seen.update(scope)

    headers = [(b"x-forwarded-proto", proto.encode()) for proto in protos]
    scope = {"type": "http", "client": ("127.0.0.1", 1), "scheme": "http", "headers": headers}
    await ForwardedMiddleware(app, proxies=parse_proxies("127.0.0.1"))(scope, None, None)
    return seen["scheme"]


@pytest.mark.parametrize(
    ("protos", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["http"], "http"),
        (["https", "http"], "http"),
        (["https, http"], "http"),
        (["ws"], "http"),
        ([], "http"),
    ],
)
def test_one_clear_scheme_of_a_named_proxy_is_believed(protos, scheme):
    assert asyncio.run(scheme_behind(protos)) == scheme
