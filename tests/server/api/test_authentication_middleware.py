"""Host names, cross-site requests, the Authorization header, and the headers of every response."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from socket import gethostname

import pytest

from relumine_server.auth.authenticator import Authenticator
from relumine_server.errors import NotReady
from tests.helpers.two_project_server import TwoProjectServer, upload

KNOWN = [
    "127.0.0.1:7358",
    "localhost",
    "[::1]:7358",
    "10.0.0.5",
    "LOCALHOST:1",
    "x.localhost",
    "localhost.",
    "localhost:",
    "[::FFFF:1]",
]
UNKNOWN = [
    "evil.example",
    "evil.example:7358",
    "127.0.0.1.evil.example",
    "127.0.0.1evil",
    "127.0.0.01",
    "localhost.evil.example",
    "",
    "a@localhost",
]
MALFORMED = [
    "[::1]evil", "[::1]evil:80", "evil[::1]", "[::1", "::1]", "[::1]]", "[[::1]]", "[127.0.0.1]", "[::1%25eth0]",
    "[evil]", "[]", "[::1]:80evil", "[::1]:65536", "localhost:80:90", "localhost:-1", "localhost:x", "localhost..",
    "..localhost/", ".", ":80", "localhost/evil", "localhost?x", "localhost#x", "localhost evil", "localhost,evil",
    "localhost\\evil", "127.0.0.1,evil", "localhost%00", "b\u00fccher",
]  # fmt: skip


@pytest.fixture
def create_server(new_database):
    """A function that creates a server without keys; the fixture closes it."""
    servers = []

    def create(**settings):
        servers.append(TwoProjectServer(new_database("sqlite"), settings))
        return servers[-1]

    yield create
    for server in servers:
        server.app.state.services.database.close()


def status(server, host, path="/v1/runs"):
    return server.call("GET", path, headers={"host": host}).status_code


def test_an_unknown_host_name_is_refused_even_if_no_key_is_required(create_server):
    server = create_server()
    assert [status(server, host) for host in [*KNOWN, gethostname()]] == [200] * (len(KNOWN) + 1)
    for host in UNKNOWN:
        for path in ("/v1/runs", "/", "/livez", "/nowhere"):
            response = server.call("GET", path, headers={"host": host})
            assert (response.status_code, response.json()["code"]) == (421, "unknown_host"), (host, path)
            assert "RELUMINE_ALLOWED_HOSTS" in response.json()["detail"]


@pytest.mark.parametrize("allowed_hosts", ["", "*"])
def test_a_malformed_host_is_refused_whatever_names_are_allowed(create_server, allowed_hosts):
    server = create_server(allowed_hosts=allowed_hosts)
    for host in MALFORMED:
        assert status(server, host.encode()) == 421, host


def test_a_request_with_two_hosts_is_refused(create_server):
    headers = [("host", "localhost"), ("host", "evil.example")]
    for pair in (headers, headers[::-1], headers[:1] * 2):
        assert create_server().send("GET", "/v1/runs", headers=pair).status_code == 421


def test_further_host_names_can_be_allowed(create_server):
    server = create_server(allowed_hosts=" watch.example, Other.example ", public_url="https://relu.example/")
    hosts = ["watch.example:80", "other.example", "relu.example", "evil.example"]
    assert [status(server, host) for host in hosts] == [200, 200, 200, 421]
    assert status(create_server(allowed_hosts="*"), "evil.example") == 200


def test_another_site_cannot_write_through_the_browser_of_a_user(create_server):
    server = create_server(public_url="https://relu.example")
    for headers, expected in [
        ({}, 202),
        ({"sec-fetch-site": "same-origin"}, 202),
        ({"sec-fetch-site": "none"}, 202),
        ({"origin": "http://localhost"}, 202),
        ({"origin": "https://relu.example"}, 202),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:8000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"origin": "http://[::1]evil"}, 403),
        ({"origin": ""}, 403),
    ]:
        response = server.call("POST", "/v1/uploads", headers=headers, json=upload("p", "r"))
        assert response.status_code == expected, headers
        assert expected == 202 or response.json()["code"] == "cross_site_request"
    assert server.call("GET", "/v1/runs", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_a_cross_site_request_with_a_key_is_accepted_since_browsers_do_not_add_keys(server):
    body = upload("ours", "run-ours", 2)
    cross_site = {"origin": "https://notebook.example", "sec-fetch-site": "cross-site"}
    assert server.call("POST", "/v1/uploads", "ingest", headers=cross_site, json=body).status_code == 202


def test_basic_authentication_of_a_proxy_is_not_a_key(server):
    basic = {"authorization": "Basic cmx1OnJsdQ=="}  # for a proxy in front of the server
    foreign = {"origin": "https://evil.example"}
    response = server.call("POST", "/v1/uploads", headers={**basic, **foreign}, json={})
    assert response.json()["code"] == "cross_site_request"
    assert server.call("GET", "/v1/runs", headers=basic).json()["code"] == "key_missing"
    login = server.call("POST", "/v1/session", json={"key": server.keys["read"]}, headers=basic)
    cookie = {"cookie": f"relumine={login.cookies['relumine']}"}
    assert server.call("GET", "/v1/runs", headers={**basic, **cookie}).status_code == 200


@pytest.fixture
def without_keys_table(server):
    """The server while its table of keys is missing; the table comes back for the tests that share the database."""
    engine = server.app.state.services.database.writing_engine
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO api_keys_gone")
    yield server
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE api_keys_gone RENAME TO api_keys")


def test_without_its_database_every_key_is_answered_with_503(without_keys_table):
    server = without_keys_table
    server.now += timedelta(minutes=5)  # cached keys have expired
    for key in ("admin", "unknown", "ours read"):
        response = server.call("GET", "/v1/runs", key)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    services = server.app.state.services
    authenticator = Authenticator(services.database, lambda: server.now, services.settings)
    with pytest.raises(NotReady):
        asyncio.run(authenticator.is_open())


def test_every_response_has_security_headers(server):
    for path, key in [("/v1/runs", "read"), ("/v1/runs", None), ("/nowhere", "admin"), ("/livez", None)]:
        headers = server.call("GET", path, key).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
    page = server.call("GET", "/").headers
    assert "script-src 'self'" in page["content-security-policy"]
    assert page["x-content-type-options"] == "nosniff"
