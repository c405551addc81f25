"""Every number about dead units is the same one: the API, the export, the report and the SDK agree over real HTTP."""

from __future__ import annotations

import csv
import io
import json

import httpx
import pytest
import torch

import relumine
from relumine import cli
from tests.helpers.live_server import listening

UNITS = 64
BORN_DEAD = 8
KILLED = 16
STEPS = 80


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The address of a server, the run of a layer with dead and born dead units, and the SDK's own metrics."""
    folder = tmp_path_factory.mktemp("dead")
    generator = torch.Generator().manual_seed(4)
    rates = torch.full((UNITS,), 0.4)
    rates[:BORN_DEAD] = 0.0
    with listening(f"sqlite:///{folder / 'x.db'}") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELUMINE_DIR", str(folder))
        with relumine.watch(torch.nn.Identity(), every=1, url=url) as monitor:
            for step in range(STEPS):
                if step == STEPS // 2:
                    rates[-KILLED:] = 0.0
                monitor.tap("fc", (torch.rand(64, UNITS, generator=generator) < rates).float() - 0.5)
                monitor.step()
            assert monitor.flush(60)
            metrics = monitor.metrics()
        yield url, monitor.run_id, metrics


def fractions(trained, capsys):
    """(dead, born dead) at the last step, by where it is read."""
    url, run_id, metrics = trained
    with relumine.Client(url) as client:
        (layer,) = client.layers(run_id)
        series = client.series(run_id, 1, ["dead_fraction", "born_dead_fraction"]).statistics
        overview = client.overview(run_id)
    (trace,) = [trace for trace in overview.traces if trace.layer_id == 1]
    found = {
        "metrics": (metrics["relumine/fc/dead_fraction"], metrics["relumine/fc/born_dead_fraction"]),
        "layers": (layer.dead_fraction, layer.born_dead_fraction),
        "overview.layers": (overview.layers[0].dead_fraction, overview.layers[0].born_dead_fraction),
        "overview.traces": (trace.dead_fraction[-1], trace.born_dead_fraction[-1]),
        "series": (series["dead_fraction"].last[-1], series["born_dead_fraction"].last[-1]),
        "export": exported(httpx.get(f"{url}/v1/runs/{run_id}/export").text),
    }
    assert cli.main(["report", run_id, "--json", "--url", url]) == 0
    output = capsys.readouterr().out
    (reported,) = json.loads(output[output.index("{\n") :])["layers"]  # the server logs to the same stream
    found["report"] = (reported["dead_fraction"], reported["born_dead_fraction"])
    return found


def exported(text):
    last = {row["statistic"]: float(row["value"]) for row in csv.DictReader(io.StringIO(text)) if row["layer"] == "fc"}
    return last["dead_fraction"], last["born_dead_fraction"]


def test_dead_and_born_dead_are_the_same_two_numbers_everywhere(trained, capsys):
    expected = (KILLED / UNITS, BORN_DEAD / UNITS)
    assert fractions(trained, capsys) == dict.fromkeys(fractions(trained, capsys), expected)


def test_the_report_has_a_column_for_each(trained, capsys):
    url, run_id, _metrics = trained
    assert cli.main(["report", run_id, "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    (heading,) = [line for line in lines if "BORN DEAD" in line]
    (row,) = [line for line in lines if " fc " in line and "%" in line and line.startswith(("dead", "dying", "born"))]
    assert heading.index("DEAD") < heading.index("BORN DEAD")
    assert row.index("25.0%") < row.index("12.5%")


def test_series_have_both_unless_they_are_asked_for_others(trained):
    url, run_id, _metrics = trained
    statistics = httpx.get(f"{url}/v1/runs/{run_id}/layers/1/series").json()["statistics"]
    assert {"dead_fraction", "born_dead_fraction"} <= set(statistics)
