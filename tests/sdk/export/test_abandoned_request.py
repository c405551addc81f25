"""A close that does not wait for the server: the closing thread spools what the sender thread cannot send."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import relumine
from relumine._export.transport import TransportError
from relumine.testing import InMemoryTransport


class HeldTransport(InMemoryTransport):
    """A server whose answer to every request comes only when the test lets it, as a success or as a refusal."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    def post(self, body):
        self.asked.set()
        assert self.may_answer.wait(60)
        if self.error is not None:
            raise self.error
        return super().post(body)


ERRORS = {
    "accepted": None,
    "too large": TransportError("413", retryable=False, too_large=True),
    "refused": TransportError("422", retryable=False),
    "unreachable": TransportError("503", retryable=True),
}


@pytest.mark.parametrize("answer", ERRORS)
def test_an_answer_that_comes_after_the_close_changes_nothing(answer, tmp_path, monkeypatch):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with HeldTransport(ERRORS[answer]) as transport:
        monitor = relumine.watch(model, optimizer, every=1)
        for _ in range(20):
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
        assert transport.asked.wait(60)
        monitor.close(timeout=0.1)
        threads = [thread for thread in threading.enumerate() if thread.name == "relumine-sender"]
        closed = monitor.sdk_stats()
        transport.may_answer.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        ended = monitor.sdk_stats()
    assert ended["errors"] == 0
    counted = ("acked_steps", "spooled_steps", "pending_steps", "dropped_steps")
    assert {name: ended[name] for name in counted} == {name: closed[name] for name in counted}
    assert ended["spooled_steps"] == ended["sampled_steps"] == 20
