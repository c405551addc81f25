"""The sampled steps of several trainings under one id, and of one whose answers are lost or refused, all add up."""

from __future__ import annotations

import http.server
import itertools
import threading
from contextlib import contextmanager

import httpx
import pytest
import torch
from torch import nn

import relumine
from relumine._export import retry
from relumine.cli import main
from tests.helpers.live_server import listening


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "spool"))
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url


class Training:
    """A small training that is watched at every step."""

    def __init__(self, url, **options):
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.monitor = relumine.watch(self.model, self.optimizer, every=1, url=url, **options)

    def steps(self, count, flush_s=20.0):
        for _ in range(count):
            self.model(torch.randn(4, 6)).square().mean().backward()
            self.optimizer.step()
        self.monitor.flush(flush_s)

    def closed_stats(self):
        """Close the monitor; return its counts, which add up."""
        self.monitor.close(timeout=5.0)
        stats = self.monitor.sdk_stats()
        parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
        assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"]
        return stats


def run_of(url, training):
    return httpx.get(f"{url}/v1/runs/{training.monitor._session.server_run.run_id}").json()


def stored_steps(url, run_id):
    query = {"statistics": "n_examples", "points": 10_000}
    return httpx.get(f"{url}/v1/runs/{run_id}/layers/1/series", params=query).json().get("step", [])


def test_two_trainings_under_one_id_are_both_counted(url):
    trainings = [Training(url, run_id="same") for _ in range(2)]
    for _ in range(4):
        for training in trainings:
            training.steps(5)
    acked = [training.closed_stats()["acked_steps"] for training in trainings]
    assert acked == [20, 20]
    run = httpx.get(f"{url}/v1/runs/same").json()
    assert (run["sampled_steps"], run["dropped"]) == (40, {})


@pytest.mark.parametrize("start_step", [20, 5, 0, 5_000_000])
def test_a_run_that_is_taken_up_at_any_step_is_counted_whole(url, start_step):
    first = Training(url, run_id="again")
    first.steps(20)
    assert first.closed_stats()["acked_steps"] == 20
    second = Training(url, run_id="again", start_step=start_step)
    second.steps(20)
    assert second.closed_stats()["acked_steps"] == 20
    run = httpx.get(f"{url}/v1/runs/again").json()
    assert (run["sampled_steps"], run["dropped"], run["status"]) == (40, {}, "finished")
    assert start_step < 20 or stored_steps(url, "again")[-1] == start_step + 20


def test_a_training_whose_id_another_project_has_is_counted_in_a_run_of_its_own(url):
    ours = Training(url, run_id="taken", project="ours")
    theirs = Training(url, run_id="taken", project="theirs")
    for training in (ours, theirs):
        training.steps(15)
        assert training.closed_stats()["acked_steps"] == 15
    assert run_of(url, theirs)["run_id"] != "taken"
    assert [run_of(url, training)["sampled_steps"] for training in (ours, theirs)] == [15, 15]
    assert stored_steps(url, run_of(url, theirs)["run_id"]) == list(range(1, 16))


class Relay(http.server.BaseHTTPRequestHandler):
    """Relays uploads to ``target``, and spoils every third answer."""

    protocol_version = "HTTP/1.1"
    target = ""
    fault = ""
    numbers = itertools.count(1)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        is_spoiled = next(self.numbers) % 3 == 0
        if is_spoiled and self.fault.isdigit():
            self.answer(int(self.fault), b"<html>")
            return
        response = httpx.post(self.target + self.path, content=body, headers={"content-type": "application/json"})
        if not is_spoiled:
            self.answer(response.status_code, response.content)
        elif self.fault == "not JSON":
            self.answer(202, b"hello")
        elif self.fault == "cut off":
            self.answer(202, response.content, missing_bytes=50)
        else:  # the answer is lost
            self.close_connection = True

    def answer(self, status, content, missing_bytes=0):
        self.send_response(status)
        self.send_header("content-length", str(len(content) + missing_bytes))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = bool(missing_bytes)

    def log_message(self, *_):
        pass


@contextmanager
def relay(url, fault):
    handler = type("Handler", (Relay,), {"target": url, "fault": fault, "numbers": itertools.count(1)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


FAULTS = ["500", "503", "429", "408", "413", "409", "404", "422", "lost", "not JSON", "cut off"]
REFUSALS = {"409", "404", "422"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_server_has_every_sampled_step_that_was_not_counted_as_dropped(url, tmp_path, fault):
    with relay(url, fault) as address:
        training = Training(address)
        for _ in range(20):
            training.steps(5, flush_s=0.5)
        stats = training.closed_stats()
    main(["sync", str(tmp_path / "spool"), "--url", url])
    dropped = sum(stats["dropped_steps"].values())
    assert set(stats["dropped_steps"]) <= {"refused"}
    assert bool(dropped) == (fault in REFUSALS)
    stored = stored_steps(url, training.monitor.run_id)
    assert stored == sorted(set(stored))
    run = run_of(url, training)
    assert len(stored) + dropped == stats["sampled_steps"] == 100
    assert run["sampled_steps"] + sum(run["dropped"].values()) == 100
