"""What an upload stores never makes a read dear without a bound: pages are cut by their size, texts are limited."""

from __future__ import annotations

import csv
import io
import json

import pytest
import sqlalchemy as sa

from relumine import Client
from relumine_server.api.routes import runs as routes
from relumine_server.runs import listing
from relumine_server.timeseries import logged_metrics, segments
from tests.helpers.live_server import listening


def send(call, run="r1", seq=1, **fields):
    layers = fields.pop("layers", [])
    body = {"run": {"id": run, **fields.pop("info", {})}, "session": "s1", "seq": seq, "layers": layers, **fields}
    return call("POST", "/v1/uploads", json=body)


def pages(call, path):
    cursor = ""
    while cursor is not None:
        page = call("GET", f"{path}{'&' if '?' in path else '?'}cursor={cursor}" if cursor else path).json()
        yield page
        cursor = page["next_cursor"]


def test_a_page_of_runs_is_shorter_where_configurations_are_long_and_none_is_left_out(call, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_CHARACTERS", 2_500)
    for number in range(7):
        send(call, f"r{number}", info={"config": {"notes": "x" * (5_000 if number == 3 else 1_000)}})
    items = [page["items"] for page in pages(call, "/v1/runs?limit=5")]
    assert [run["run_id"] for page in items for run in page] == [f"r{number}" for number in reversed(range(7))]
    assert max(map(len, items)) == 2


def test_a_page_of_metrics_holds_a_bounded_number_of_points(call, monkeypatch):
    monkeypatch.setattr(logged_metrics, "MAX_POINTS", 25)
    for seq in range(1, 11):
        logged = [{"step": 10 * seq + n, "name": "loss", "value": float(n)} for n in range(10)]
        send(call, seq=seq, metrics=logged)
    loss = [page["metrics"]["loss"] for page in pages(call, "/v1/runs/r1/metrics")]
    assert [point["step"] for page in loss for point in page] == list(range(10, 110))
    assert max(map(len, loss)) == 20


def test_a_page_of_metrics_reads_a_bounded_number_of_points_where_uploads_overlap(call, monkeypatch):
    monkeypatch.setattr(logged_metrics, "MAX_POINTS", 20)
    monkeypatch.setattr(logged_metrics, "MAX_READ_POINTS", 40)
    expected = {}
    for seq in range(1, 21):
        names = ("loss", f"of {seq}")
        logged = [{"step": step, "name": name, "value": seq + step / 8} for step in range(7) for name in names]
        assert send(call, seq=seq, metrics=logged).status_code == 202
        expected |= {(point["name"], point["step"]): point["value"] for point in logged}
    found = {}
    sizes = []
    for page in pages(call, "/v1/runs/r1/metrics"):
        points = {(name, point["step"]): point["value"] for name, of in page["metrics"].items() for point in of}
        sizes.append(len(points))
        found |= points
    assert found == expected
    assert max(sizes) <= 40
    assert len(sizes) >= 7


def test_a_client_reads_each_logged_metric_once_where_uploads_overlap(new_database, monkeypatch):
    monkeypatch.setattr(logged_metrics, "MAX_POINTS", 5)
    monkeypatch.setattr(logged_metrics, "MAX_READ_POINTS", 10)
    with listening(new_database("sqlite")) as url, Client(url) as client:
        for seq in range(1, 8):
            logged = [{"step": step, "name": "loss", "value": seq} for step in range(4)]
            body = {"run": {"id": "r1"}, "session": "s", "seq": seq, "metrics": logged}
            client.upload(json.dumps(body).encode())
        points = client.logged_metrics("r1")["loss"]
    assert [(point.step, point.value) for point in points] == [(step, 7.0) for step in range(4)]


@pytest.mark.parametrize(
    "fields",
    [
        {"info": {"config": {f"key{number}": "x" * 9_000 for number in range(30)}}},
        {"layers": [{"layer_id": 1, "name": "fc", "units": 1, "missing": ["x" * 500] * 3}]},
        {"coverage": {"unseen": {f"{number:0>190}": "x" * 500 for number in range(3_000)}}},
    ],
    ids=["config", "missing", "coverage"],
)
def test_texts_that_every_list_repeats_are_limited(call, fields):
    response = send(call, **fields)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_upload")


def test_an_overview_asks_as_few_queries_for_many_layers_as_for_few(app, call):
    counts = {}
    for run, size in (("few", 3), ("many", 300)):
        layers = [{"layer_id": number, "name": f"act{number}", "units": 1} for number in range(1, size + 1)]
        records = [
            {"layer_id": number, "first_step": 1, "step": 1, "n_examples": 8, "active": [3]}
            for number in range(1, size + 1)
        ]
        assert send(call, run, layers=layers, records=records).status_code == 202
        assert send(call, run, seq=2, records=[records[0] | {"step": 2, "first_step": 2}]).status_code == 202
        statements = []

        def note(_connection, _cursor, statement, *_rest, statements=statements):
            statements.append(statement)

        engine = app.state.services.database.engine
        sa.event.listen(engine, "before_cursor_execute", note)
        overview = call("GET", f"/v1/runs/{run}/overview").json()
        sa.event.remove(engine, "before_cursor_execute", note)
        assert len(overview["layers"]) == len(overview["traces"]) == size
        counts[run] = len(statements)
    assert counts["many"] == counts["few"]


def test_an_overview_of_many_layers_has_fewer_points_of_each_and_every_extreme(call, monkeypatch):
    monkeypatch.setattr(routes, "OVERVIEW_POINTS_OF_ALL", 90)
    layers = [{"layer_id": number, "name": f"act{number}", "units": 1} for number in (1, 2, 3)]
    steps = {"n_examples": 8, "sampled_steps": 1}
    records = [
        {"layer_id": number, "first_step": step, "step": step, "active": [8 if step == 31 else 3], **steps}
        for step in range(1, 71)
        for number in (1, 2, 3)
    ]
    assert send(call, layers=layers, records=records).status_code == 202
    traces = call("GET", "/v1/runs/r1/overview").json()["traces"]
    assert [len(trace["step"]) for trace in traces] == [30, 30, 30]
    assert [trace["step"][-1] for trace in traces] == [70, 70, 70]


def test_the_latest_readings_of_a_run_are_looked_up_layer_by_layer(app, call):
    database = app.state.services.database
    if database.engine.dialect.name != "sqlite":
        pytest.skip("the plans of Postgres depend on its statistics")
    statements = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        statements.append((statement, parameters))

    with database.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", note)
        segments.latest_readings(connection, "r1")
        statement, parameters = statements[-1]
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert not [step for step in plan if "TEMP B-TREE" in step]
    whole_key = "(run_id=? AND layer_id=? AND session=? AND rank=? AND seq=?)"
    assert [step for step in plan if step.startswith("SEARCH segments ")] == [
        f"SEARCH segments USING INDEX sqlite_autoindex_segments_1 {whole_key}"
    ]


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("http://x","y")', "+1", "-1+2", "@SUM(A1)", "a\x1b[31m\u202eb", "fc\r\n=1"]
)
def test_a_name_in_the_export_is_neither_a_formula_nor_an_escape_sequence(call, name):
    layer = {"layer_id": 1, "name": name, "units": 1}
    record = {"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 8, "active": [3]}
    assert send(call, layers=[layer], records=[record]).status_code == 202
    rows = list(csv.reader(io.StringIO(call("GET", "/v1/runs/r1/export").text)))
    names = {row[1] for row in rows[1:] if row[0] == "1"}
    (cell,) = names
    assert cell.isprintable()
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
