"""The way a request comes: the names a server answers to, other sites, and the headers of every answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from socket import gethostname

import pytest
from keyed_server import House, upload

from relumine_server.api.keyring import Keyring
from relumine_server.errors import NotReady

KNOWN = ["127.0.0.1:7358", "localhost", "[::1]:7358", "10.0.0.5", "LOCALHOST:1", "x.localhost", "localhost."]
UNKNOWN = ["evil.example", "evil.example:7358", "127.0.0.1.evil.example", "localhost.evil.example", "", "a@localhost"]


@pytest.fixture
def open_house(new_database):
    houses = []

    def make(**settings):
        houses.append(House(new_database("sqlite"), settings))
        return houses[-1]

    yield make
    for house in houses:
        house.app.state.store.close()


def status(house, host, path="/v1/runs"):
    return house.call("GET", path, headers={"host": host}).status_code


def test_a_name_that_somebody_pointed_here_is_refused_also_where_no_key_is_needed(open_house):
    house = open_house()
    assert [status(house, host) for host in [*KNOWN, gethostname()]] == [200] * (len(KNOWN) + 1)
    for host in UNKNOWN:
        for path in ("/v1/runs", "/", "/livez", "/nowhere"):
            answer = house.call("GET", path, headers={"host": host})
            assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host"), (host, path)
            assert "RELUMINE_ALLOWED_HOSTS" in answer.json()["detail"]


def test_names_can_be_added(open_house):
    house = open_house(allowed_hosts=" watch.example, Other.example ", public_url="https://relu.example/")
    hosts = ["watch.example:80", "other.example", "relu.example", "evil.example"]
    assert [status(house, host) for host in hosts] == [200, 200, 200, 421]
    assert status(open_house(allowed_hosts="*"), "evil.example") == 200


def test_another_site_cannot_write_through_a_browser(open_house):
    house = open_house(public_url="https://relu.example")
    for sent, expected in [
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
    ]:
        answer = house.call("POST", "/v1/uploads", headers=sent, json=upload("p", "r"))
        assert answer.status_code == expected, sent
        assert expected == 202 or answer.json()["code"] == "cross_site"
    assert house.call("GET", "/v1/runs", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_a_key_is_nothing_that_a_browser_adds_by_itself(house):
    body = upload("ours", "run-ours", 2)
    elsewhere = {"origin": "https://notebook.example", "sec-fetch-site": "cross-site"}
    assert house.call("POST", "/v1/uploads", "ingest", headers=elsewhere, json=body).status_code == 202


def test_what_browsers_add_by_themselves_is_no_key(house):
    basic = {"authorization": "Basic cmx1OnJsdQ=="}  # of a proxy in front that asks for a password
    foreign = {"origin": "https://evil.example"}
    assert house.call("POST", "/v1/uploads", headers={**basic, **foreign}, json={}).json()["code"] == "cross_site"
    assert house.call("GET", "/v1/runs", headers=basic).json()["code"] == "key_missing"
    given = house.call("POST", "/v1/login", json={"key": house.keys["read"]}, headers=basic)
    cookie = {"cookie": f"relumine={given.cookies['relumine']}"}
    assert house.call("GET", "/v1/runs", headers={**basic, **cookie}).status_code == 200


def test_without_its_database_nobody_is_let_in(house):
    with house.app.state.store.writing_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO keys_gone")
    house.now += timedelta(minutes=5)  # what was read before is not believed any more
    for key in ("admin", "unknown", "ours read"):
        answer = house.call("GET", "/v1/runs", key)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    fresh = Keyring(house.app.state.store, lambda: house.now, house.app.state.settings)
    with pytest.raises(NotReady):
        asyncio.run(fresh.is_open())


def test_every_answer_carries_what_keeps_browsers_from_mischief(house):
    for path, key in [("/v1/runs", "read"), ("/v1/runs", None), ("/nowhere", "admin"), ("/livez", None)]:
        headers = house.call("GET", path, key).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
    page = house.call("GET", "/").headers
    assert "script-src 'self'" in page["content-security-policy"]
    assert page["x-content-type-options"] == "nosniff"
