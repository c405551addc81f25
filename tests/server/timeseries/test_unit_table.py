"""The table of the units of a layer over HTTP: states of the detector, values of the latest record, sorted, as CSV."""

from __future__ import annotations

import csv
import io

import pytest
import sqlalchemy as sa

from relumine.schemas.units import UnitTable
from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.settings import Settings
from relumine_server.timeseries.unit_table import STATES
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller

MEASURED = ("mean", "shift_weight", "shift_input", "shift_bias")
FIELDS = ("unit", "state", "active_rate", "last_active_step", "peak", "bias")


def send(call, records, seq=1, units=4, session="s1", **layer):
    """Send records of layer 1."""
    body = {"run": {"id": "r"}, "session": session, "seq": seq, "records": records}
    body["layers"] = [{"layer_id": 1, "name": "fc1", "units": units, **layer}]
    response = call("POST", "/v1/uploads", json=body)
    assert response.status_code == 202, response.text


def record(step, active, **columns):
    return {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": list(active), **columns}


def read(call, layer=1, **query):
    response = call("GET", f"/v1/runs/r/layers/{layer}/unit-table", params=query)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def lossy(call):
    """A layer that loses unit 1, whose unit 2 was never active and whose unit 3 is active on 1 example in 500."""
    for seq in range(1, 41):
        steps = range(10 * seq, 10 * seq + 10)
        records = []
        for step in steps:
            dies = 0 if step >= 200 else 60
            silent = [0, max(0, 100 * (step - 199)), 100 * (step - 9), 0]
            extras = {"silent": silent, "max": [3.0, -1.0, -2.0, 0.5], "bias": [0.25, -0.5, -1.0, 0.0]}
            records.append(record(step, [50, dies, 0, 1 if step % 5 == 0 else 0], **extras))
        send(call, records, seq)


@pytest.mark.usefixtures("lossy")
def test_units_have_the_state_of_the_detector_and_the_values_of_the_latest_record(call):
    table = read(call, sort="unit")
    assert (table["layer_id"], table["units"], table["matched"], table["first"], table["step"]) == (1, 4, 4, 0, 409)
    rows = [tuple(row[name] for name in FIELDS) for row in table["items"]]
    assert rows == [
        (0, "active", 0.5, 409, 3.0, 0.25),
        (1, "dead", 0.0, 199, -1.0, -0.5),
        (2, "born_dead", 0.0, None, -2.0, -1.0),
        (3, "rare", 0.0, 409, 0.5, 0.0),
    ]
    assert table["state_counts"] == {"dead": 1, "born_dead": 1, "dying": 0, "rare": 1, "active": 1, "unknown": 0}


@pytest.mark.usefixtures("lossy")
def test_a_table_is_sorted_filtered_and_cut(call):
    def units(**query):
        return [row["unit"] for row in read(call, **query)["items"]]

    assert units(sort="state") == [1, 2, 3, 0]
    assert units(sort="-state") == [0, 3, 2, 1]
    assert units(sort="peak") == [2, 1, 3, 0]
    assert units(sort="-bias") == [0, 3, 1, 2]
    assert units(sort="last_active_step") == [1, 0, 3, 2]
    assert units(sort="-last_active_step") == [0, 3, 1, 2]
    assert units(sort="-unit", first=1, count=2) == [2, 1]
    assert units(state="dead,born_dead") == [1, 2]
    filtered = read(call, state="rare", first=1)
    assert (filtered["matched"], filtered["items"], filtered["state_counts"]["dead"]) == (1, [], 1)


def test_what_shifted_the_mean_of_each_unit_and_of_the_units_in_each_state(call):
    shifts = {"shift_weight": [0.0, 0.5, -0.25], "shift_input": [0.0, -2.0, -1.0], "shift_bias": [0.0, 0.0, -0.5]}
    send(call, [record(step, [50] * 3, mean=[0.0, -0.5, -1.5], **shifts) for step in (1, 2)], units=3)
    table = read(call, sort="-shift_input")
    assert [tuple(row[name] for name in ("unit", *MEASURED)) for row in table["items"]] == [
        (0, 0.0, 0.0, 0.0, 0.0),
        (2, -1.5, -0.25, -1.0, -0.5),
        (1, -0.5, 0.5, -2.0, 0.0),
    ]
    ((state, weight, caused_by_input, bias),) = [tuple(shift.values()) for shift in table["shifts"]]
    assert state == "active"
    assert (weight, caused_by_input, bias) == pytest.approx((0.25 / 3, -1.0, -0.5 / 3), rel=1e-5)


@pytest.mark.usefixtures("lossy")
def test_a_layer_without_measured_shifts_has_none(call):
    table = read(call)
    assert (table["shifts"], table["items"][0]["shift_weight"]) == ([], None)


@pytest.mark.usefixtures("lossy")
def test_csv_has_all_units_and_the_numbers_of_the_table(call):
    response = call("GET", "/v1/runs/r/layers/1/unit-table?format=csv&sort=unit&count=1")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    expected = [
        {name: "" if row[name] is None else str(row[name]) for name in (*FIELDS, *MEASURED)}
        for row in read(call, sort="unit")["items"]
    ]
    assert rows == expected
    assert (
        len(list(csv.reader(io.StringIO(call("GET", "/v1/runs/r/layers/1/unit-table?format=csv&state=dead").text))))
        == 2
    )


@pytest.mark.usefixtures("lossy")
def test_another_process_answers_the_same_as_the_one_that_received_the_uploads(call, database):
    other = caller(create_app(Settings(database_url=address_of(database)), database=database))
    assert read(other) == read(call)


@pytest.mark.usefixtures("lossy")
def test_a_state_that_is_lost_leaves_the_measured_values(call, database):
    other = caller(create_app(Settings(database_url=address_of(database)), database=database))
    for change in (sa.update(tables.detector_states).values(state=b"x"), sa.delete(tables.detector_states)):
        database.write(lambda connection, change=change: connection.execute(change))
        table = read(other, sort="unit")
        assert table["state_counts"] == {name: 4 if name == "unknown" else 0 for name in STATES}
        assert [row["last_active_step"] for row in table["items"]] == [409, 199, None, 409]


def test_a_layer_without_records_or_whose_activation_cannot_die_has_unknown_units(call):
    send(call, [])
    table = read(call)
    assert (table["step"], table["state_counts"]["unknown"], len(table["items"])) == (None, 4, 4)
    assert {row["active_rate"] for row in table["items"]} == {None}
    send(call, [record(1, [50] * 4)], seq=2, can_die=False)
    table = read(call)
    assert (table["step"], table["state_counts"]["unknown"], table["items"][0]["active_rate"]) == (1, 4, 0.5)


def test_a_layer_of_twenty_thousand_units_is_read_by_parts(call):
    width = 20_000
    send(call, [record(step, [step % 2 * 50] * (width - 1) + [100]) for step in (1, 2)], units=width)
    seen = []
    for first in range(0, width, 1_000):
        table = UnitTable.model_validate(read(call, sort="unit", first=first, count=1_000))
        seen += [row.unit for row in table.items]
    assert seen == list(range(width))
    assert read(call, sort="-active_rate", count=1)["items"][0]["unit"] == width - 1
    lines = call("GET", "/v1/runs/r/layers/1/unit-table?format=csv").text.splitlines()
    assert len(lines) == width + 1


@pytest.mark.parametrize(
    "query", ["count=0", "count=1001", "first=-1", "sort=x", "state=alive", "state=", "format=xml"]
)
def test_what_there_is_not_is_refused(query, call):
    send(call, [record(1, [50] * 4)])
    assert call("GET", f"/v1/runs/r/layers/1/unit-table?{query}").json()["code"] == "invalid_request"
    assert call("GET", "/v1/runs/r/layers/9/unit-table").json()["code"] == "layer_not_found"
    assert call("GET", "/v1/runs/x/layers/1/unit-table").json()["code"] == "run_not_found"
