"""What Prometheus and Grafana are given by ``deploy/`` asks for figures that ``/metrics`` has, and the rules fire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from keyed_server import House, upload
from prometheus_client.parser import text_string_to_metric_families

from relumine_server import errors

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = (DEPLOY / "alerts.yml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/relumine.json").read_text())
QUERIES = re.findall(r"expr: '(.+)'", RULES) + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
SELECTOR = re.compile(r"(relumine_\w+)(?:\{([^}]*)\})?")


def promtool(*arguments):
    places = os.pathsep.join([os.environ["PATH"], f"{sys.prefix}/receivers/usr/bin"])
    program = shutil.which("promtool", path=places)
    assert program, "promtool is not installed: make receivers"
    return subprocess.run([program, *arguments], cwd=ROOT / "tests/deploy", capture_output=True, text=True)


@pytest.fixture
def samples(database_url):
    """Names of samples and their labels, of a server that has had something to count."""
    house = House(database_url)
    house.make("admin", "admin")
    body = upload("digits", "r1") | {"dropped": {"buffer_full": 3}}
    assert house.call("POST", "/v1/uploads", "admin", json=body).status_code == 202
    assert house.call("GET", "/v1/runs").status_code == 401
    text = house.call("GET", "/metrics", "admin").text
    yield {s.name: {*s.labels} for family in text_string_to_metric_families(text) for s in family.samples}
    house.app.state.store.close()


def test_every_figure_and_label_that_is_asked_for_is_given(samples):
    asked = [found for query in QUERIES for found in SELECTOR.findall(query)]
    assert len(asked) > 30
    for name, matchers in asked:
        assert name in samples
        assert set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers))) <= samples[name]
    for query in QUERIES:
        known = set().union(*(samples[name] for name, _ in SELECTOR.findall(query)), {"instance", "job"})
        assert {label for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")} <= known


def test_every_code_that_a_rule_looks_for_is_answered_somewhere():
    known = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    asked = {code for codes in re.findall(r'code=~?"([^"]+)"', RULES) for code in codes.split("|")}
    assert asked
    assert asked <= known


def test_each_rule_fires_for_its_trouble_and_none_for_a_server_that_does_well():
    for arguments in (("check", "rules", "../../deploy/alerts.yml"), ("test", "rules", "alerts_test.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"- name: (Relumine\w+)", (ROOT / "tests/deploy/alerts_test.yml").read_text()))
    assert tested == set(re.findall(r"- alert: (\w+)", RULES))


def test_prometheus_takes_its_configuration():
    done = promtool("check", "config", "--syntax-only", "../../deploy/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_its_section_in_the_documentation():
    text = (ROOT / "docs/operations.md").read_text()
    for name, anchor in re.findall(r"- alert: (\w+)(?:\n.+?)*?runbook: docs/operations\.md#(\w+)", RULES):
        assert anchor == name.lower()
        assert f"\n### {name}\n" in text


def test_the_dashboard_is_whole():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len({panel["title"] for panel in panels})
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    source = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    for panel in panels:
        assert f"uid: {panel['datasource']['uid']}" in source
        assert panel["targets"]
