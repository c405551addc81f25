"""A training that is watched, with a slip in each step."""

from __future__ import annotations

import torch
from torch import nn

import relumine

STEPS = 25


class Raises:
    def __float__(self):
        raise RuntimeError("no")

    __int__ = __str__ = __repr__ = __bool__ = __float__


def watched(memory, slip):
    """Train with a slip at every step; return the metrics, all sampled steps and the statistics of the SDK."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1) as monitor:
        for step in range(STEPS):
            z = model(torch.randn(4, 6))
            slip(monitor, z)
            monitor.log(good=float(step))
            z.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 10 == 5:
                assert monitor.flush()
        stats = monitor.sdk_stats()
    metrics = {}
    for upload in memory.uploads:
        for metric in upload.metrics:
            metrics.setdefault(metric.name, []).append((metric.step, metric.value))
    assert [record.step for record in memory.records("1")] == list(range(1, STEPS + 1))
    assert [value for _, value in metrics.pop("good")] == list(map(float, range(STEPS)))
    assert (stats["errors"], stats["last_error"], stats["dropped_steps"]) == (0, None, {})
    return metrics
