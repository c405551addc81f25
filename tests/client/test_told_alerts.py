"""Of the alerts that a server answers with, the training hears those that fire and are not explained or silenced."""

from __future__ import annotations

import pytest
import torch
from news import alert

import relumine
from relumine import testing
from relumine._applied import LATER
from relumine.views import Accepted


class Answers(testing.MemoryTransport):
    """A server whose answers carry what the test says."""

    def __init__(self):
        super().__init__()
        self.alerts = []

    def post(self, body):
        super().post(body)
        return Accepted(accepted=1, duplicate=False, every=None, alerts=self.alerts)


@pytest.fixture
def told():
    """Says the alerts of the next answer; gives what ``on_alert`` was called with since."""
    heard, model = [], torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Answers() as server, relumine.watch(model, optimizer, every=1, on_alert=heard.append) as monitor:

        def step(*alerts):
            server.alerts, before = list(alerts), len(heard)
            for _ in range(2):  # what an answer says is told at the end of the step after it
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                assert monitor.flush()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            return [(one.state, one.severity) for one in heard[before:]]

        step.monitor = monitor
        yield step


def test_an_alert_is_heard_once_and_again_for_the_worse(told):
    assert told(alert(severity="warning")) == [("firing", "warning")]
    assert told(alert(severity="warning")) == []
    assert told(alert(severity="critical")) == [("firing", "critical")]
    assert told(alert(state="acknowledged")) == []
    assert told(alert(state="regressed")) == [("regressed", "critical")]


@pytest.mark.parametrize("why", [{"muted_by": "r.1.dead"}, {"silenced_by": "sil_1"}, {"state": "pending"}])
def test_what_is_quiet_or_pending_is_known_and_not_heard_until_it_fires(told, why):
    assert told(alert(**why)) == []
    assert len(told.monitor.alerts()) == 1
    assert told(alert()) == [("firing", "critical")]


def test_the_verdict_says_what_was_open_to_the_end(told, capsys):
    end = {"state": "resolved", "resolved_step": 9, "resolved_reason": "the run finished"}
    told(alert(**end))
    told(alert(id="r.3.dead", layer="fc3", kind="dead", state="resolved", resolved_step=5, resolved_reason="returned"))
    told.monitor.close()
    said = capsys.readouterr().err
    assert "fc2 dying (step 4,410, open to the end)" in said
    assert "fc3 dead (step 4,410, resolved)" in said


def test_an_alert_put_off_is_told_again_until_it_is_taken_or_over():
    heard, model = [], torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def later(one):
        heard.append(one.state)
        return LATER

    with Answers() as server, relumine.watch(model, optimizer, every=1, on_alert=later) as monitor:

        def step(*alerts):
            server.alerts = list(alerts)
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            assert monitor.flush()

        step(alert())
        step()
        step()
        assert heard == ["firing", "firing"]
        step(alert(state="resolved"))
        told = len(heard)
        step()
        step()
        assert len(heard) == told
