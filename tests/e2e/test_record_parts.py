"""A record that is larger than a proxy takes reaches a real server in parts, and is one record there."""

from __future__ import annotations

import httpx
import pytest
import torch
from torch import nn

import relumine
from relumine.cli import main
from tests.helpers.limiting_proxy import limiting_proxy
from tests.helpers.live_server import listening

WIDTH = 1_500
STEPS = 16
DIES_AT = 6
LIMIT = 24_000
"""Far less than a record of so many units, which takes about 65,000 bytes."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of spooled uploads."""
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def server_url(database_url):
    """A real server."""
    with listening(database_url) as url:
        yield url


def train(url, run_id, flush_s=60.0):
    """Train a wide layer whose units die; return what the SDK counted."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(8, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(STEPS, 64, 8)
    with relumine.watch(model, optimizer, every=1, url=url, run_id=run_id) as monitor:
        for step in range(STEPS):
            if step == DIES_AT:
                with torch.no_grad():
                    model[0].bias.sub_(20.0)
            model(x[step]).square().mean().backward()
            optimizer.step()
            monitor.flush(flush_s)
    stats = monitor.sdk_stats()
    parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
    assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"] == STEPS
    return stats


def contents(url, run_id):
    """Return the alerts and the stored data of a run, without its names and times."""
    alerts = httpx.get(f"{url}/v1/alerts?run_id={run_id}").json()["items"]
    compared = ("layer_id", "kind", "state", "severity", "cause", "confidence", "opened_step", "dead_step", "evidence")
    raised = [{name: alert[name] for name in compared} for alert in alerts]
    layer = f"{url}/v1/runs/{run_id}/layers/1"
    query = "statistics=dead_fraction,dying_fraction,active_rate,n_examples&points=1000"
    series = httpx.get(f"{layer}/series?{query}").json()
    run = httpx.get(f"{url}/v1/runs/{run_id}").json()
    return raised, series, httpx.get(f"{layer}/units").json(), run["sampled_steps"]


def test_a_training_behind_a_proxy_with_a_small_limit_gets_the_findings_of_one_without(server_url):
    direct = train(server_url, "direct")
    with limiting_proxy(server_url, LIMIT) as proxy:
        behind = train(proxy.url, "behind")
    assert proxy.answers[413] > 0
    for stats in (direct, behind):
        assert (stats["acked_steps"], stats["dropped_steps"], stats["too_large_records"]) == (STEPS, {}, 0)
    assert behind["acked_records"] == direct["acked_records"] == 2 * STEPS
    raised, *stored = contents(server_url, "behind")
    assert [raised, *stored] == [*contents(server_url, "direct")]
    assert {alert["kind"] for alert in raised} & {"dying", "dead"}
    assert stored[-1] == STEPS


def test_a_limit_that_is_met_is_not_tried_again_with_every_record(server_url):
    with limiting_proxy(server_url, LIMIT) as proxy:
        train(proxy.url, "behind")
        assert proxy.answers[413] < STEPS


def test_uploads_on_disk_reach_a_server_behind_a_proxy_with_a_small_limit(server_url, folder):
    closed = "http://127.0.0.1:9"
    stats = train(closed, "synced", flush_s=0.1)
    assert stats["spooled_steps"] == STEPS
    with limiting_proxy(server_url, LIMIT) as proxy:
        assert main(["sync", "--url", proxy.url]) == 0
        assert proxy.answers[413] > 0
    train(server_url, "direct")
    assert contents(server_url, "synced")[1:] == contents(server_url, "direct")[1:]
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_record_of_which_a_part_is_still_too_large_is_kept_on_disk_and_completed_by_a_sync(server_url, folder):
    with limiting_proxy(server_url, 900) as proxy:
        stats = train(proxy.url, "tiny", flush_s=1.0)
        assert stats["acked_steps"] == 0
        assert sum(stats["dropped_steps"].values()) + stats["spooled_steps"] == STEPS
        proxy.limit = LIMIT
        assert main(["sync", "--url", proxy.url]) == 0
    assert contents(server_url, "tiny")[1]["step"] == list(range(1, STEPS + 1))
    assert not [path for path in folder.rglob("*") if path.is_file()]
