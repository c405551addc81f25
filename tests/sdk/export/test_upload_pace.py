"""A training in peace uploads seldom; what moves is uploaded at once. The records are the same."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

import relumine
from relumine._export import upload_pace
from relumine._export.layer_totals import LayerTotals
from relumine._export.motion import MotionDetector
from relumine._export.upload_pace import LONGEST_S, STEADY_S, UploadPace

WAIT_S = 60.0


def uploads_of(pace, seconds):
    """Ask once a second whether an upload of one record is due; return when it was."""
    sent = []
    for second in range(seconds):
        if pace.is_due(second, records=1, nbytes=100):
            pace.note_sent(second)
            sent.append(second)
    return sent


def test_the_first_minute_uploads_every_second_and_a_peaceful_hour_less_than_every_fourth():
    sent = uploads_of(UploadPace(0.0), 3600)
    assert sent[:60] == list(range(60))
    assert len(sent) / 3600 < 0.25
    assert max(np.diff(sent)) == LONGEST_S


def test_motion_is_uploaded_at_once_and_keeps_the_pace_for_a_while():
    pace = UploadPace(0.0)
    uploads_of(pace, 1000)
    now = 1000.3
    pace.note_sent(now)
    pace.note_motion(now)
    assert pace.is_due(now, records=1, nbytes=100)
    pace.note_sent(now)
    assert pace.interval_s(now + STEADY_S) == 1.0
    assert pace.interval_s(now + 10 * STEADY_S) == LONGEST_S


@pytest.mark.parametrize("held", [{"records": 10_000, "nbytes": 0}, {"records": 1, "nbytes": 2**30}])
def test_much_data_is_not_held_back(held):
    pace = UploadPace(0.0)
    uploads_of(pace, 1000)
    pace.note_sent(1000.0)
    assert not pace.is_due(1000.0, records=1, nbytes=100)
    assert pace.is_due(1000.0, **held)


@pytest.mark.parametrize(
    ("asked", "interval_s"),
    [(None, LONGEST_S), (1.0, 1.0), (3.0, 3.0), (1e9, LONGEST_S), (0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)],
)
def test_the_server_may_ask_for_more_uploads_and_never_for_fewer_than_the_pace(asked, interval_s):
    pace = UploadPace(0.0)
    pace.request(asked)
    assert pace.interval_s(1000.0) == interval_s
    pace.request(None)
    assert pace.interval_s(1000.0) == LONGEST_S


def layer(units=50, examples=64):
    totals = LayerTotals(0, units, latest_examples=examples, previous_step=1)
    columns = {
        "latest_active": np.full(units, 20.0, np.float32),
        "silent": np.zeros(units, np.float32),
        "longest_ever": np.full(units, 100.0, np.float32),
        "total_active": np.full(units, 1000.0, np.float32),
    }
    return {1: totals}, columns


def test_a_new_layer_lost_units_another_rate_and_numbers_that_are_not_finite_are_motion():
    def has_moved(change):
        detector = MotionDetector()
        layers, columns = layer()
        assert detector.has_moved(layers, columns)  # new
        assert not detector.has_moved(layers, columns)
        change(layers, columns)
        return detector.has_moved(layers, columns)

    assert has_moved(lambda _, columns: columns["silent"].__setitem__(slice(2), 1000))
    assert has_moved(lambda _, columns: columns["latest_active"].__setitem__(slice(None), 12))
    assert has_moved(lambda layers, _: setattr(layers[1], "previous_step", None))
    assert not has_moved(lambda _, columns: columns["latest_active"].__setitem__(slice(None), 21))
    assert not has_moved(lambda _, columns: columns["silent"].__setitem__(slice(2), 150))


def test_a_peaceful_training_holds_its_records_and_a_layer_that_dies_is_uploaded(memory, mlp, monkeypatch):
    for name in ("MAX_HELD_RECORDS", "MAX_HELD_BYTES"):
        monkeypatch.setattr(upload_pace, name, 10**9)
    for name, value in {"STEADY_S": 0.0, "PEACE_PER_S": 1e-9, "LONGEST_S": 3600.0}.items():
        monkeypatch.setattr(upload_pace, name, value)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    monitor = relumine.watch(model, optimizer, every=1)
    inputs = torch.randn(64, 6)

    def train_until(holds):
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline
            model(inputs).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            time.sleep(0.01)  # the sender thread reads the queue once per second

    train_until(lambda: monitor.sdk_stats()["pending_steps"] > 200)
    uploads = len(memory.uploads)
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    train_until(lambda: len(memory.uploads) > uploads and not memory.records("1")[-1].arrays()["active"].any())
    monitor.close()
    records = memory.records("1")
    assert [record.step for record in records] == list(range(1, len(records) + 1))
