"""The map of a layer over HTTP: rates as they were measured, evenly chosen records, ranges of units, bounded reads."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.timeseries import unit_map

UNITS = 5
ACTIVE = {"n_examples": 100, "active": [9, 9]}


def send(call, actives, *, seq=1, session="s1", first=1, units=UNITS, other_layer=False):
    """Send a record of layer 1 for each list of active counts, of 100 examples, at successive steps."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": list(active)}
        for step, active in enumerate(actives, first)
    ]
    if other_layer:
        records += [{**record, "layer_id": 2, "active": [99, 99]} for record in records]
    layers = [{"layer_id": 1, "name": "fc1", "units": units}, {"layer_id": 2, "name": "fc2", "units": 2}]
    body = {"run": {"id": "r"}, "session": session, "seq": seq, "layers": layers, "records": records}
    response = call("POST", "/v1/uploads", json=body)
    assert response.status_code == 202, response.text


def read(call, layer=1, **query):
    """Return a map, its rates as an array of shape (units, steps)."""
    response = call("GET", f"/v1/runs/r/layers/{layer}/unit-map", params=query)
    assert response.status_code == 200, response.text
    answer = response.json()
    rates = np.frombuffer(base64.b64decode(answer.pop("active_rate")), np.uint8)
    return answer, rates.reshape(len(answer["unit"]), len(answer["step"]))


def test_a_byte_is_a_rate_and_a_unit_that_was_active_once_is_not_shown_as_silent(call):
    send(call, [[0, 100, 50, 25, 10], [0, 100, 0, 25, 10]], other_layer=True)
    record = {"layer_id": 1, "first_step": 3, "step": 3, "n_examples": 60_000, "active": [1, 60_000, 0, 0, 0]}
    call("POST", "/v1/uploads", json={"run": {"id": "r"}, "session": "s1", "seq": 2, "records": [record]})
    answer, rates = read(call)
    assert answer == {"layer_id": 1, "units": 5, "first_unit": 0, "unit": [0, 1, 2, 3, 4], "step": [1, 2, 3]}
    assert rates.tolist() == [[0, 0, 1], [254, 254, 254], [127, 0, 0], [64, 64, 0], [25, 25, 0]]
    assert read(call, layer=2)[1].tolist() == [[251, 251], [251, 251]]


def test_a_record_without_examples_or_columns_has_no_data(call):
    send(call, [[50] * UNITS])
    records = [{"layer_id": 1, "first_step": 2, "step": 2, "n_examples": 0, "active": [0] * UNITS}]
    records += [{"layer_id": 1, "first_step": 3, "step": 3}, {"layer_id": 2, "first_step": 3, "step": 3, **ACTIVE}]
    body = {"run": {"id": "r"}, "session": "s1", "seq": 2, "records": records}
    assert call("POST", "/v1/uploads", json=body).is_success
    answer, rates = read(call)
    assert answer["step"] == [1, 2, 3]
    assert set(rates[:, 1:].ravel().tolist()) == {unit_map.NO_DATA}


def test_of_many_records_the_points_are_evenly_chosen_and_the_last_is_there(call):
    for seq in range(1, 6):
        send(call, [[seq, 0, 0, 0, 100]] * 100, seq=seq, first=100 * seq)
    for points in (1, 2, 7, 100, 400):
        answer, rates = read(call, points=points)
        assert len(answer["step"]) == points
        assert answer["step"][-1] == 599
        gaps = np.diff(answer["step"])
        assert points == 1 or gaps.max() - gaps.min() <= 1
        assert set(rates[4].tolist()) == {254}
    part, _ = read(call, from_step=150, to_step=160, points=400)
    assert part["step"] == list(range(150, 161))
    assert read(call, from_step=700)[0]["step"] == []


def test_a_wide_layer_is_read_by_ranges_that_together_are_the_layer(call):
    width = 5_000
    rng = np.random.default_rng(0)
    actives = rng.integers(0, 101, (3, width))
    send(call, actives.tolist(), units=width)
    parts = []
    for first in range(0, width + 2_048, 2_048):
        answer, rates = read(call, first_unit=first, units=2_048)
        assert (answer["units"], answer["unit"]) == (width, list(range(first, min(first + 2_048, width))))
        parts.append(rates)
    expected = np.maximum(np.rint(actives.T * 2.54), actives.T > 0)
    assert (np.concatenate(parts) == expected).all()


def test_units_are_sorted_by_their_last_activation_over_the_whole_layer(call):
    send(call, [[9, 9, 0, 9, 0], [9, 0, 0, 9, 0], [9, 0, 0, 0, 0]])
    answer, rates = read(call, sort="last_active")
    assert answer["unit"] == [2, 4, 1, 3, 0]
    assert (rates[:, -1] > 0).tolist() == [False] * 4 + [True]
    assert read(call, sort="last_active", first_unit=2, units=2)[0]["unit"] == [1, 3]


def test_a_resumed_run_shows_the_newer_session_and_a_repeated_upload_the_later_one(call):
    send(call, [[10] * UNITS] * 9)
    send(call, [[20] * UNITS] * 4, session="s2", first=5)
    send(call, [[30] * UNITS], session="s2", seq=2, first=6)
    answer, rates = read(call)
    assert answer["step"] == list(range(1, 9))
    assert rates[0].tolist() == [25, 25, 25, 25, 51, 76, 51, 51]


def test_a_layer_that_is_in_few_of_the_records_is_found(call, monkeypatch):
    for seq in range(1, 41):
        send(call, [[50] * UNITS], seq=seq, first=2 * seq)
        record = {"layer_id": 2, "first_step": 2 * seq + 1, "step": 2 * seq + 1, **ACTIVE}
        call("POST", "/v1/uploads", json={"run": {"id": "r"}, "session": "s1", "seq": 100 + seq, "records": [record]})
    assert len(read(call, layer=2, points=40)[0]["step"]) > 0
    monkeypatch.setattr(unit_map, "MAX_CANDIDATES", 20)
    assert len(read(call, layer=1)[0]["step"]) + len(read(call, layer=2)[0]["step"]) >= 20


def test_the_bytes_that_a_map_reads_are_bounded_and_read_in_batches(call, database, monkeypatch):
    send(call, [[50] * UNITS] * 40)
    with database.read() as connection:
        size = connection.scalar(sa.select(sa.func.max(tables.unit_stats.c.size_bytes)))
    monkeypatch.setattr(unit_map, "MAX_BYTES", 12 * size)
    monkeypatch.setattr(unit_map, "BATCH_BYTES", 4 * size)
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    answer, rates = read(call)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    assert (len(answer["step"]), answer["step"][-1]) == (12, 40)
    assert set(rates.ravel().tolist()) == {127}
    assert len([statement for statement in statements if "unit_stats.columns" in statement]) in (3, 4)


def test_a_damaged_row_has_no_data_and_the_others_are_shown(call, database):
    send(call, [[50] * UNITS] * 3)
    is_second = tables.unit_stats.c.step == 2
    damage = sa.update(tables.unit_stats).where(is_second).values(columns=b"x")
    database.write(lambda connection: connection.execute(damage))
    assert read(call)[1][0].tolist() == [127, 255, 127]


@pytest.mark.parametrize("query", ["points=0", "points=401", "units=2049", "units=0", "first_unit=-1", "sort=x"])
def test_ranges_beyond_the_limits_are_refused(query, call):
    send(call, [[50] * UNITS])
    assert call("GET", f"/v1/runs/r/layers/1/unit-map?{query}").json()["code"] == "invalid_request"


def test_a_run_or_layer_that_is_not_there_is_named(call):
    assert call("GET", "/v1/runs/r/layers/1/unit-map").json()["code"] == "run_not_found"
    send(call, [[50] * UNITS])
    for layer in (0, 7):
        assert call("GET", f"/v1/runs/r/layers/{layer}/unit-map").json()["code"] == "layer_not_found"
