"""The same training gets the same findings, whatever its run id and however its uploads fall."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import relumine

RUNS = 6
RAISED_AT = 150


def alerts_of(run_id):
    """Train a net whose learning rate is raised far too high; return its alerts without what differs by design."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x = torch.randn(512, 20)
    y = (x[:, :4] * 2).argmax(1)
    with relumine.watch(model, optimizer, run_id=run_id, mode="local") as monitor:
        for step in range(300):
            rows = torch.randint(0, 512, (64,))
            optimizer.param_groups[0]["lr"] = 0.05 if step < RAISED_AT else 20.0
            optimizer.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return [(alert.layer, alert.kind, alert.severity, alert.cause, alert.opened_step) for alert in monitor.alerts()]


def test_the_same_training_under_many_run_ids_has_one_set_of_alerts():
    found = {tuple(alerts_of(f"run-{number}")) for number in range(RUNS)}
    assert len(found) == 1
    (alerts,) = found
    assert {kind for _, kind, _, _, _ in alerts} & {"dying", "dead"}
