"""Where records would exceed the byte budget, sampled steps share one: only resolution is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import relumine
from relumine._export import upload_builder


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
def unmerged(memory):
    return train(memory)[0]


@pytest.fixture
def merged(memory, monkeypatch, unmerged):
    memory.uploads.clear()
    monkeypatch.setattr(upload_builder, "FREE_BYTES", 20_000)
    monkeypatch.setattr(upload_builder, "BYTES_PER_S", 0)
    return train(memory)


def test_merged_records_cover_every_sampled_step_and_count_the_same(unmerged, merged):
    records, stats = merged
    assert stats["merged_steps"] > 20
    assert len(records) < len(unmerged) == 60
    assert sum(record.sampled_steps for record in records) == 60
    assert [b.first_step for b in records[1:]] == [a.step + 1 for a in records[:-1]]
    active = sum(record.arrays()["active"].astype(int) for record in records)
    assert active.tolist() == sum(record.arrays()["active"].astype(int) for record in unmerged).tolist()
    assert sum(record.n_examples for record in records) == 240


def test_merging_hides_no_silence_and_keeps_the_split_exact(unmerged, merged):
    records, _ = merged
    by_step = {record.step: record for record in unmerged}
    for record in records:
        arrays, unmerged_arrays = record.arrays(), by_step[record.step].arrays()
        assert arrays["silent"].tolist() == unmerged_arrays["silent"].tolist()
        longest = [by_step[step].arrays()["longest_silence"] for step in range(record.first_step, record.step + 1)]
        assert arrays["longest_silence"].tolist() == np.max(longest, axis=0).tolist()
        if record.since_step is not None:
            parts = arrays["shift_weight"] + arrays["shift_input"] + arrays["shift_bias"]
            change = unmerged_arrays["mean"] - by_step[record.since_step].arrays()["mean"]
            assert np.abs(parts - change).max() <= 1e-5
