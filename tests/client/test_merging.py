"""Where bytes would run over, sampled steps share a record: nothing but resolution is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import relumine
from relumine import schedule


def train(memory, **options):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
        for _ in range(60):
            model(torch.randn(4, 6)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        monitor.flush()
        return memory.records("1"), monitor.sdk_stats()


@pytest.fixture
def apart(memory):
    return train(memory)[0]


@pytest.fixture
def merged(memory, monkeypatch, apart):
    memory.uploads.clear()
    monkeypatch.setattr(schedule, "BYTES_GRANT", 20_000)
    monkeypatch.setattr(schedule, "BYTES_PER_S", 0)
    return train(memory)


def test_merged_records_cover_every_look_and_count_the_same(apart, merged):
    records, stats = merged
    assert stats["merged"] > 20
    assert len(records) < len(apart) == 60
    assert sum(record.sampled_steps for record in records) == 60
    assert [b.first_step for b in records[1:]] == [a.step + 1 for a in records[:-1]]
    for name in ("active",):
        assert (
            sum(r.arrays()[name].astype(int) for r in records).tolist()
            == sum(r.arrays()[name].astype(int) for r in apart).tolist()
        )
    assert sum(record.n_examples for record in records) == 240


def test_merging_hides_no_silence_and_keeps_the_split_exact(apart, merged):
    records, _ = merged
    last = {record.step: record for record in apart}
    for record in records:
        arrays, alone = record.arrays(), last[record.step].arrays()
        assert arrays["silent"].tolist() == alone["silent"].tolist()
        longest = [last[s].arrays()["longest_silence"] for s in range(record.first_step, record.step + 1)]
        assert arrays["longest_silence"].tolist() == np.max(longest, axis=0).tolist()
        if record.since_step is not None:
            parts = arrays["shift_weight"] + arrays["shift_input"] + arrays["shift_bias"]
            change = alone["mean"] - last[record.since_step].arrays()["mean"]
            assert np.abs(parts - change).max() <= 1e-5
