"""The address of a client behind proxies: only what named proxies wrote is believed."""

from __future__ import annotations

import pytest

from relumine_server.net.clients import parse_proxies
from relumine_server.settings import Settings

PROXIES = parse_proxies("192.0.2.1, 10.0.0.0/8, fd12::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("198.51.100.9", ["203.0.113.5"], "198.51.100.9"),  # not a proxy
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:192.0.2.1", ["203.0.113.5"], "203.0.113.5"),
        ("192.0.2.1", ["1.1.1.1, 203.0.113.5"], "203.0.113.5"),  # the client wrote the first one
        ("192.0.2.1", ["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
        ("192.0.2.1", ["1.1.1.1, 203.0.113.5, 10.0.0.7"], "203.0.113.5"),  # two proxies
        ("192.0.2.1", ["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        ("192.0.2.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("192.0.2.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("192.0.2.1", ["[2001:db8::5]"], "2001:db8::5"),
        ("fd12::1", ["2001:db8::5"], "2001:db8::5"),
        ("192.0.2.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        ("192.0.2.1", ["203.0.113.5, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5, "], "192.0.2.1"),
        ("192.0.2.1", ["_hidden"], "192.0.2.1"),
        ("192.0.2.1", ["[203.0.113.5"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5:x"], "192.0.2.1"),
        ("192.0.2.1", ["x" * 50_000], "192.0.2.1"),
        ("192.0.2.1", ["fe80::1%" + "x" * 50_000], "192.0.2.1"),
        ("192.0.2.1", [", ".join(["10.0.0.7"] * 20_000)], "10.0.0.7"),
        ("192.0.2.1", ["evil, 10.0.0.7"], "10.0.0.7"),
    ],
)
def test_the_client_is_the_last_address_that_no_named_proxy_has(peer, forwarded_for, client):
    assert PROXIES.client_of(peer, forwarded_for) == client


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "[::1]", "127.0.0.1:80", "1.2.3"])
def test_only_addresses_and_networks_name_a_proxy(text):
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=text)
