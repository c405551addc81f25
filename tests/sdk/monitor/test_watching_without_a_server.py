"""What a server refuses, or stores without analyzing it, is no evidence of health."""

from __future__ import annotations

from relumine._export.transport import TransportError
from relumine.testing import InMemoryTransport
from tests.helpers.watched_scene import Scene


class Refusing(InMemoryTransport):
    """A server that refuses every upload for good."""

    def post(self, body):
        raise TransportError("422", retryable=False)


def test_uploads_that_the_server_refuses_are_reported(mlp, capsys):
    with Refusing() as memory:
        training = Scene(mlp(), memory, every=1)
        for _ in range(4):
            training.train(5)
            training.monitor.flush()
        assert training.monitor.health().status == "unwatched"
        training.monitor.close()
    assert "no dead layers" not in capsys.readouterr().err


def test_uploads_that_are_stored_but_not_analyzed_are_no_evidence_of_health(mlp, monkeypatch, capsys):
    def stored_late(self, body):
        response = post(self, body)
        return response.model_copy(update={"analyzed": False})

    post = InMemoryTransport.post
    monkeypatch.setattr(InMemoryTransport, "post", stored_late)
    with InMemoryTransport() as memory:
        training = Scene(mlp(), memory)
        training.train(60)
        training.monitor.close()
    assert "no dead layers" not in capsys.readouterr().err
