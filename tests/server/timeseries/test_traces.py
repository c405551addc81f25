"""Traces of layers: the numbers of all are converted at once, and each layer gets its own."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from relumine.schemas.chart import Trace
from relumine_server.db.types import UNREADABLE, from_json
from relumine_server.timeseries import layout, traces
from relumine_server.timeseries.downsampling import Downsampled


def series(steps, values):
    columns = {name: np.array(values, float) for name in traces.STATISTICS}
    return Downsampled(np.ones(len(steps), int), np.array(steps, float), min=columns, max=columns, last=columns)


def traces_of(by_layer, points):
    """Return traces as the schema has them, which the answer is not validated against."""
    return TypeAdapter(list[Trace]).validate_python(traces.traces(by_layer, points), strict=True)


def test_each_layer_has_its_own_points_ordered_by_layer_and_null_where_nothing_was_measured():
    nothing = series([], [])
    by_layer = {7: series([1, 2], [0.5, np.nan]), 3: series([4], [0.25]), 5: nothing, 9: series([6, 8], [np.inf, 1])}
    answer = traces_of(by_layer, points=10)
    assert [(trace.layer_id, trace.step) for trace in answer] == [(3, [4]), (7, [1, 2]), (9, [6, 8])]
    for name in traces.STATISTICS:
        assert [getattr(trace, name) for trace in answer] == [[0.25], [0.5, None], [None, 1.0]]


def test_a_long_layer_is_downsampled_beside_a_short_one():
    by_layer = {1: series(range(100), range(100)), 2: series([5], [5])}
    long, short = traces_of(by_layer, points=10)
    assert len(long.step) == 10
    assert (long.dead_fraction[-1], long.active_rate[-1]) == (99.0, 99.0)
    assert (short.step, short.active_rate) == ([5], [5.0])


def test_no_layer_has_no_trace():
    assert traces_of({}, points=10) == []


def test_the_largest_value_of_any_layer_is_found_between_the_steps_of_a_run():
    by_layer = {1: series([2, 4, 9], [0.5, np.nan, 0.1]), 2: series([4, 5], [0.25, 3.0]), 3: series([], [])}
    largest = traces.largest_between(by_layer, "active_rate", np.array([1, 4, 6, 8]))
    assert largest.tolist() == pytest.approx([np.nan, 0.5, 3.0, np.nan], nan_ok=True)
    assert np.isnan(traces.largest_between({}, "active_rate", np.array([1, 4]))).all()


def test_segments_of_one_layout_are_judged_once():
    segments = [(1, b"mask" + bytes(8), None)] * 3 + [(1, b"mask", bytes(4))]
    layouts = layout.distinct(segments)
    assert set(layouts) == set(layout.layouts_of(segments))
    assert len(layouts) == 2
    assert layout.distinct([]) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (r'"\ud800"', "\ud800"),  # as Python writes half of a pair
        ("{", UNREADABLE),
        (None, UNREADABLE),
        ("[" * 100_000, UNREADABLE),
    ],
)
def test_a_document_is_read_as_python_reads_it_and_a_damaged_one_fails_no_query(text, value):
    assert from_json(text) == value
