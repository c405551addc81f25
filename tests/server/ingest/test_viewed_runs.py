"""A run that someone views is asked to upload every second."""

from __future__ import annotations

import pytest

from relumine_server.api import viewed_runs

RUN = {"id": "r1", "name": "n"}


def flush_every(api, seq, run_id="r1"):
    answer = api("POST", "/uploads", 202, run={**RUN, "id": run_id}, session="s", seq=seq)
    return answer["flush_every"]


@pytest.mark.parametrize("page", ["/runs/r1/overview", "/runs/r1/layers/0/series"])
def test_a_run_whose_page_is_read_is_asked_for_an_upload_every_second(api, page):
    assert flush_every(api, 1) is None
    api("GET", page)
    assert flush_every(api, 2) == 1.0
    assert flush_every(api, 1, run_id="r2") is None


def test_a_run_is_left_to_its_own_pace_after_the_page_was_left(api, monkeypatch):
    flush_every(api, 1)
    monkeypatch.setattr(viewed_runs, "VIEWED_S", 0.0)
    api("GET", "/runs/r1/overview")
    seen = viewed_runs.ViewedRuns()
    seen.note("r1")
    assert seen.flush_every("r1") is None
