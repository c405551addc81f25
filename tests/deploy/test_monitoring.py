"""The rules and the dashboard in ``deploy/`` use metrics that ``/metrics`` has, and each rule fires."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relumine_server import errors
from tests.helpers.two_project_server import TwoProjectServer, upload

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = (DEPLOY / "alerts.yml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/relumine.json").read_text())
QUERIES = re.findall(r"expr: '(.+)'", RULES) + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
SELECTOR = re.compile(r"(relumine_\w+)(?:\{([^}]*)\})?")


def promtool(*arguments):
    search_path = os.pathsep.join([os.environ["PATH"], f"{sys.prefix}/receivers/usr/bin"])
    program = shutil.which("promtool", path=search_path)
    assert program, "promtool is not installed: make receivers"
    return subprocess.run([program, *arguments], cwd=ROOT / "tests/deploy", capture_output=True, text=True)


@pytest.fixture
def samples(database_url):
    """The names of all samples with their labels, of a server that has counted some events."""
    server = TwoProjectServer(database_url)
    server.create_key("admin", "admin")
    body = upload("digits", "r1") | {"dropped": {"buffer_full": 3}}
    assert server.call("POST", "/v1/uploads", "admin", json=body).status_code == 202
    assert server.call("GET", "/v1/runs").status_code == 401
    text = server.call("GET", "/metrics", "admin").text
    yield {s.name: {*s.labels} for family in text_string_to_metric_families(text) for s in family.samples}
    server.app.state.services.database.close()


def test_every_metric_and_label_of_a_query_exists(samples):
    selectors = [selector for query in QUERIES for selector in SELECTOR.findall(query)]
    assert len(selectors) > 30
    for name, matchers in selectors:
        assert name in samples
        assert set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers))) <= samples[name]
    for query in QUERIES:
        known = set().union(*(samples[name] for name, _ in SELECTOR.findall(query)), {"instance", "job"})
        assert {label for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")} <= known


def test_every_problem_code_of_a_rule_exists():
    known = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    used = {code for codes in re.findall(r'code=~?"([^"]+)"', RULES) for code in codes.split("|")}
    assert used
    assert used <= known


def test_each_rule_fires_for_its_problem_and_none_for_a_healthy_server():
    for arguments in (("check", "rules", "../../deploy/alerts.yml"), ("test", "rules", "alerts_test.yml")):
        result = promtool(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
    tested = set(re.findall(r"- name: (Relumine\w+)", (ROOT / "tests/deploy/alerts_test.yml").read_text()))
    assert tested == set(re.findall(r"- alert: (\w+)", RULES))


def test_prometheus_accepts_its_configuration():
    result = promtool("check", "config", "--syntax-only", "../../deploy/prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_rule_has_a_section_in_the_documentation():
    text = (ROOT / "docs/operations.md").read_text()
    for name, anchor in re.findall(r"- alert: (\w+)(?:\n.+?)*?runbook: docs/operations\.md#(\w+)", RULES):
        assert anchor == name.lower()
        assert f"\n### {name}\n" in text


def test_the_panels_of_the_dashboard_are_complete_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len({panel["title"] for panel in panels})
    positions = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(positions) == len(panels)
    source = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    for panel in panels:
        assert f"uid: {panel['datasource']['uid']}" in source
        assert panel["targets"]
