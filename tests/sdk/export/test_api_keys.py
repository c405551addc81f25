"""The SDK with a server that requires keys: every request carries the key, and a wrong key costs no data."""

from __future__ import annotations

import httpx
import pytest
import torch

import relumine
from relumine import cli
from relumine._runtime.settings import resolve_settings
from relumine.errors import ServerError, SettingsError
from tests.helpers.live_server import listening


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """The address of a server with keys, and keys by scope; ``elsewhere`` may only upload to another project."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('keys') / 'x.db'}") as url:
        keys = {"admin": httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]}
        headers = {"authorization": f"Bearer {keys['admin']}"}
        for name, body in {
            "ingest": {"scope": "ingest"},
            "read": {"scope": "read"},
            "elsewhere": {"scope": "ingest", "project": "elsewhere"},
        }.items():
            keys[name] = httpx.post(f"{url}/v1/keys", json=body, headers=headers).json()["key"]
        yield url, keys


@pytest.fixture
def watch_training(mlp, train):
    """Watches a small training to its end."""

    def run(url, **options):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, url=url, every=1, **options) as monitor:
            train(model, optimizer)
        return monitor

    return run


def test_an_ingest_key_uploads_and_a_read_key_reads(secured, watch_training, monkeypatch, capfd):
    url, keys = secured
    monkeypatch.setenv("RELUMINE_API_KEY", keys["ingest"] + "\n")
    monitor = watch_training(url)
    assert monitor.sdk_stats()["spooled_steps"] == 0
    with relumine.Client(url) as client, pytest.raises(ServerError) as error:
        client.run(monitor.run_id)
    assert (error.value.status, error.value.code) == (403, "insufficient_scope")
    with relumine.Client(url, keys["read"]) as client:
        assert client.run(monitor.run_id).last_step == 40
    monkeypatch.setenv("RELUMINE_API_KEY", keys["read"])
    assert cli.main(["report", monitor.run_id, "--url", url]) == 0
    output = capfd.readouterr()
    assert not [key for key in keys.values() if key in output.out + output.err]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "key_missing"),
        ("rlm_ingest_wrong", "key_unknown"),
        ("read", "insufficient_scope"),
        ("elsewhere", "project_forbidden"),
    ],
)
def test_a_wrong_key_is_logged_once_and_loses_no_sampled_step(secured, watch_training, monkeypatch, capfd, key, code):
    url, keys = secured
    monitor = watch_training(url, api_key=keys.get(key, key))
    stats = monitor.sdk_stats()
    assert (stats["acked_steps"], stats["spooled_steps"], stats["dropped_steps"]) == (0, stats["sampled_steps"], {})
    output = capfd.readouterr().err
    assert output.count(code) == 1
    assert "Training continues; data is buffered in" in output
    assert url in output
    assert "RELUMINE_API_KEY" in output
    assert "send them with: relumine sync" in output
    assert not [secret for secret in (*keys.values(), "rlm_ingest_wrong") if secret in output]
    assert cli.main(["sync", "--url", url]) == 1
    assert "(401 key_missing)" in capfd.readouterr().err  # no key is set for the command yet
    monkeypatch.setenv("RELUMINE_API_KEY", keys["ingest"])
    assert cli.main(["sync", "--url", url]) == 0
    with relumine.Client(url, keys["read"]) as client:
        assert client.run(monitor.run_id).last_step == 40


def test_a_key_that_no_header_can_carry_is_refused_before_the_training_and_never_printed():
    for key in ("rlm_ingest_é", "rlm_ingest_a b", "rlm_ingest_a\nb"):
        with pytest.raises(SettingsError) as error:
            resolve_settings(api_key=key, environ={})
        assert "rlm_" not in str(error.value)
    settings = resolve_settings(api_key=" rlm_ingest_x \n", environ={})
    assert settings.api_key == "rlm_ingest_x"
    assert "rlm_ingest_x" not in repr(settings)
