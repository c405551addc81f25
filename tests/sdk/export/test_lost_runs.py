"""A server that forgot a run, in whole or in part, gets everything again, and nothing is dropped for that."""

from __future__ import annotations

import httpx
import pytest
import torch
from torch import nn

import relumine
from relumine._export import retry
from relumine.cli import main
from tests.helpers.live_server import listening


@pytest.fixture
def server(tmp_path):
    """The address of a real server on a free port."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url


class Training:
    """A training whose sampled steps are sent whenever it is asked to."""

    def __init__(self, url, **options):
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.monitor = relumine.watch(self.model, self.optimizer, every=1, url=url, **options)

    def steps(self, count):
        for _ in range(count):
            self.model(torch.randn(4, 6)).square().mean().backward()
            self.optimizer.step()
        self.monitor.flush(20.0)


def stored_steps(url, run_id, layer=1):
    answer = httpx.get(f"{url}/v1/runs/{run_id}/layers/{layer}/series", params={"statistics": "n_examples"})
    return answer.json()["step"]


def assert_balanced(monitor):
    stats = monitor.sdk_stats()
    parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
    assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"]
    return stats


def test_a_run_that_was_deleted_while_it_trains_goes_on_and_drops_nothing(server, capsys):
    training = Training(server)
    training.steps(10)
    httpx.delete(f"{server}/v1/runs/{training.monitor.run_id}").raise_for_status()
    training.steps(20)
    training.monitor.close()
    stats = assert_balanced(training.monitor)
    assert (stats["acked_steps"], stats["dropped_steps"]) == (30, {})
    for layer in (1, 2):
        assert stored_steps(server, training.monitor.run_id, layer) == list(range(11, 31))
    coverage = httpx.get(f"{server}/v1/runs/{training.monitor.run_id}").json()["coverage"]
    assert coverage["watched"] == 2


def test_uploads_that_waited_on_disk_find_a_deleted_run_and_drop_nothing(server, monkeypatch):
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))
    training = Training(server)
    training.steps(10)
    transport = training.monitor._session.sender.delivery._transport._transport
    address = transport._server
    transport._server = "http://127.0.0.1:9"
    training.monitor.flush(0.0)
    for _ in range(3):
        training.model(torch.randn(4, 6)).square().mean().backward()
        training.optimizer.step()
        training.monitor.flush(0.3)
    httpx.delete(f"{server}/v1/runs/{training.monitor.run_id}").raise_for_status()
    transport._server = address
    training.steps(5)
    training.monitor.close()
    stats = assert_balanced(training.monitor)
    assert (stats["acked_steps"], stats["dropped_steps"]) == (18, {})
    assert stored_steps(server, training.monitor.run_id) == list(range(11, 19))


def test_a_file_of_an_outage_can_be_synced_to_a_server_that_knows_nothing(server, tmp_path, monkeypatch):
    training = Training(server)
    training.steps(10)
    training.monitor._session.sender.delivery._transport._transport._server = "http://127.0.0.1:9"
    for _ in range(5):
        training.model(torch.randn(4, 6)).square().mean().backward()
        training.optimizer.step()
        training.monitor.flush(0.2)
    training.monitor.close(timeout=1.0)
    stats = assert_balanced(training.monitor)
    assert (stats["acked_steps"], stats["spooled_steps"]) == (10, 5)
    httpx.delete(f"{server}/v1/runs/{training.monitor.run_id}").raise_for_status()
    assert main(["sync", "--url", server]) == 0
    assert stored_steps(server, training.monitor.run_id, 2) == list(range(11, 16))


def test_an_answer_that_knows_fewer_layers_than_were_described_gets_them_all_again(memory):
    post = memory.post
    known = {"layers": 2}
    memory.post = lambda body: post(body).model_copy(update={"known_layers": known["layers"]})
    training = Training(None)
    training.steps(3)
    assert [len(upload.layers) for upload in memory.uploads][1:] == [0] * (len(memory.uploads) - 1)
    known["layers"] = 0
    training.steps(3)
    known["layers"] = 2
    count = len(memory.uploads)
    training.steps(3)
    training.monitor.close()
    assert len(memory.uploads[count].layers) == 2
    assert memory.uploads[count].coverage is not None
    assert all(not upload.layers for upload in memory.uploads[count + 1 :])


def test_the_closing_line_does_not_reassure_where_records_were_refused(memory, capsys):
    from relumine._export.transport import TransportError

    post = memory.post

    def refuse_second(body):
        refuse_second.count += 1
        if refuse_second.count == 2:
            raise TransportError("422 invalid_upload: no", retryable=False, code="invalid_upload")
        return post(body)

    refuse_second.count = 0
    memory.post = refuse_second
    training = Training(None)
    for _ in range(30):
        training.steps(1)
    training.monitor.close()
    stats = assert_balanced(training.monitor)
    assert 0 < stats["dropped_steps"]["refused"] <= 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert "no dead layers" not in line
    assert "refused by the server" in line


def test_the_closing_line_does_not_reassure_where_records_were_too_large(memory, capsys):
    from relumine._export.transport import TransportError

    post = memory.post
    training = Training(None)
    training.steps(10)

    def refuse(_body):
        raise TransportError("413 too_large: no", retryable=False, too_large=True)

    memory.post = refuse
    training.steps(20)
    memory.post = post
    training.monitor.close()
    assert_balanced(training.monitor)
    output = capsys.readouterr().err
    assert "no dead layers" not in output
    assert training.monitor.health().status != "healthy"
