"""The SDK at a server with keys: the key goes along everywhere, and a wrong one costs no data."""

from __future__ import annotations

import httpx
import pytest
import torch
from live_server import listening

import relumine
from relumine import __main__ as command
from relumine.errors import ServerError, SettingsError
from relumine.settings import resolve


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server with keys: its address, and keys by scope; ``elsewhere`` may only upload into another project."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('keys') / 'x.db'}") as url:
        keys = {"admin": httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]}
        headers = {"authorization": f"Bearer {keys['admin']}"}
        for name, asked in {
            "ingest": {"scope": "ingest"},
            "read": {"scope": "read"},
            "elsewhere": {"scope": "ingest", "project": "elsewhere"},
        }.items():
            keys[name] = httpx.post(f"{url}/v1/keys", json=asked, headers=headers).json()["key"]
        yield url, keys


@pytest.fixture
def watch_one(mlp, train):
    """Watches a small training to its end."""

    def go(url, **options):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, url=url, every=1, **options) as monitor:
            train(model, optimizer)
        return monitor

    return go


def test_an_ingest_key_sends_and_a_read_key_reads(closed, watch_one, monkeypatch, capfd):
    url, keys = closed
    monkeypatch.setenv("RELUMINE_API_KEY", keys["ingest"] + "\n")
    monitor = watch_one(url)
    assert monitor.sdk_stats()["kept"] == 0
    with relumine.Client(url) as client, pytest.raises(ServerError) as refused:
        client.run(monitor.run_id)
    assert (refused.value.status, refused.value.code) == (403, "scope_too_small")
    with relumine.Client(url, keys["read"]) as client:
        assert client.run(monitor.run_id).last_step == 40
    monkeypatch.setenv("RELUMINE_API_KEY", keys["read"])
    assert command.main(["report", monitor.run_id, "--url", url]) == 0
    said = capfd.readouterr()
    assert not [key for key in keys.values() if key in said.out + said.err]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "key_missing"),
        ("rlm_ingest_wrong", "key_unknown"),
        ("read", "scope_too_small"),
        ("elsewhere", "other_project"),
    ],
)
def test_a_wrong_key_is_told_once_and_costs_no_look(closed, watch_one, monkeypatch, capfd, key, code):
    url, keys = closed
    monitor = watch_one(url, api_key=keys.get(key, key))
    stats = monitor.sdk_stats()
    assert (stats["sent"], stats["kept"], stats["dropped"]) == (0, stats["samples"], {})
    said = capfd.readouterr().err
    assert said.count(code) == 1
    assert "statistics are kept meanwhile" in said
    assert "send it with: relumine sync" in said
    assert not [secret for secret in (*keys.values(), "rlm_ingest_wrong") if secret in said]
    assert command.main(["sync", "--url", url]) == 1
    assert "401 key_missing" in capfd.readouterr().err  # no key is set for the command yet
    monkeypatch.setenv("RELUMINE_API_KEY", keys["ingest"])
    assert command.main(["sync", "--url", url]) == 0
    with relumine.Client(url, keys["read"]) as client:
        assert client.run(monitor.run_id).last_step == 40


def test_a_key_that_no_header_can_carry_is_refused_before_the_training_and_never_shown():
    for key in ("rlm_ingest_é", "rlm_ingest_a b", "rlm_ingest_a\nb"):
        with pytest.raises(SettingsError) as refused:
            resolve(api_key=key, environ={})
        assert "rlm_" not in str(refused.value)
    settings = resolve(api_key=" rlm_ingest_x \n", environ={})
    assert settings.api_key == "rlm_ingest_x"
    assert "rlm_ingest_x" not in repr(settings)
