"""``on_alert`` is called for alerts that fire, unless they are inhibited or silenced."""

from __future__ import annotations

import pytest
import torch

import relumine
from relumine import testing
from relumine.alert_actions import RETRY_LATER
from relumine.schemas.upload import UploadResponse
from tests.helpers.notification_samples import alert


class AlertingTransport(testing.InMemoryTransport):
    """A server whose responses carry the alerts that the test sets."""

    def __init__(self):
        super().__init__()
        self.alerts = []

    def post(self, body):
        super().post(body)
        return UploadResponse(accepted=1, analyzed=True, duplicate=False, sample_every=None, alerts=self.alerts)


@pytest.fixture
def respond():
    """Sets the alerts of the next response; returns what ``on_alert`` was called with since."""
    calls = []
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with AlertingTransport() as server, relumine.watch(model, optimizer, every=1, on_alert=calls.append) as monitor:

        def step(*alerts):
            server.alerts = list(alerts)
            calls.clear()
            for _ in range(2):  # alerts of a response are dispatched at the end of the step after it
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                assert monitor.flush()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            return [(call.state, call.severity) for call in calls]

        step.monitor = monitor
        yield step


def test_on_alert_is_called_once_and_again_when_the_alert_gets_worse(respond):
    assert respond(alert(severity="warning")) == [("firing", "warning")]
    assert respond(alert(severity="warning")) == []
    assert respond(alert(severity="critical")) == [("firing", "critical")]
    assert respond(alert(state="acknowledged")) == []
    assert respond(alert(state="regressed")) == [("regressed", "critical")]


@pytest.mark.parametrize("why", [{"inhibited_by": "r.1.dead"}, {"silenced_by": "sil_1"}, {"state": "pending"}])
def test_a_quiet_or_pending_alert_is_listed_but_not_dispatched_until_it_fires(respond, why):
    assert respond(alert(**why)) == []
    assert len(respond.monitor.alerts()) == 1
    assert respond(alert()) == [("firing", "critical")]


def test_the_closing_line_lists_alerts_that_were_open_to_the_end(respond, capsys):
    respond(alert(state="ended", ended_step=9, outcome="at_risk"))
    respond(
        alert(
            id="r.3.dying", layer="fc3", layer_id=3, kind="dead", state="resolved", resolved_step=5, outcome="recovered"
        )
    )
    respond.monitor.close()
    output = capsys.readouterr().err
    assert "fc2 is dying (since step 4,410)" in output
    assert "fc3 was dead (step 4,410, recovered)" in output


def test_sixty_layers_that_die_are_one_line_and_another_where_it_gets_worse(respond, capsys):
    def layers(**changes):
        return [alert(id=f"r.{n}.dying", layer=f"fc{n}", layer_id=n, opened_step=n, **changes) for n in range(1, 61)]

    capsys.readouterr()
    for changes in ({"severity": "warning"}, {"severity": "critical"}, {"severity": "critical", "kind": "dead"}):
        for received in layers(**changes):
            respond(received)
    respond.monitor.close()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("relumine: ")]
    assert len(lines) <= 5
    assert lines[1].startswith("relumine: WARNING digits/baseline · fc1 is dying")
    assert lines[2].startswith("relumine: CRITICAL digits/baseline · 60 layers are dying, the first is fc1 at step 1.")
    assert lines[3].startswith("relumine: CRITICAL digits/baseline · 1 layer is dead, 59 layers are dying")
    assert "and 55 more" in lines[-1]


def test_a_postponed_alert_is_dispatched_again_until_it_is_handled_or_resolved():
    states, model = [], torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def postpone(received):
        states.append(received.state)
        return RETRY_LATER

    with AlertingTransport() as server, relumine.watch(model, optimizer, every=1, on_alert=postpone) as monitor:

        def step(*alerts):
            server.alerts = list(alerts)
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            assert monitor.flush()

        step(alert())
        step()
        step()
        assert states == ["firing", "firing"]
        step(alert(state="resolved"))
        count = len(states)
        step()
        step()
        assert len(states) == count
