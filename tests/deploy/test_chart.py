"""The Helm chart renders manifests that start the server as it is documented. They were rendered by Helm itself."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
import typer
import yaml

from relumine_server.cli.main import cli
from relumine_server.settings import Settings
from tests.deploy.render_chart import CASES, CHART, RENDERED, ROOT, chart_digest, render

FIELDS = {
    "Deployment": {"replicas", "selector", "template"},
    "Job": {"backoffLimit", "template"},
    "Service": {"type", "ports", "selector"},
    "Ingress": {"ingressClassName", "tls", "rules"},
}
"""Fields of the spec of each kind."""

POD = {
    "automountServiceAccountToken", "enableServiceLinks", "securityContext", "volumes", "restartPolicy", "containers",
    "terminationGracePeriodSeconds", "imagePullSecrets",
}  # fmt: skip
CONTAINER = {
    "name", "image", "imagePullPolicy", "securityContext", "volumeMounts", "args", "ports", "env", "resources",
    "startupProbe", "livenessProbe", "readinessProbe",
}  # fmt: skip
VERSIONS = {"Deployment": "apps/v1", "Job": "batch/v1", "Service": "v1", "Ingress": "networking.k8s.io/v1"}


def manifests(case):
    documents = yaml.safe_load_all((RENDERED / f"{case}.yaml").read_text(encoding="utf-8"))
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in documents}


def pods(case):
    return {
        name: item["spec"]["template"]["spec"] for name, item in manifests(case).items() if "template" in item["spec"]
    }


def environment(pod):
    return {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}


@pytest.mark.parametrize("case", CASES)
def test_the_manifests_are_those_of_the_chart_as_it_is(case):
    first, _, text = (RENDERED / f"{case}.yaml").read_text(encoding="utf-8").partition("\n")
    assert first == f"# {chart_digest()}", "run python -m tests.deploy.render_chart"
    if importlib.util.find_spec("helm_python"):
        assert text == render(CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_every_manifest_has_the_fields_of_its_kind(case):
    for item in manifests(case).values():
        assert item["apiVersion"] == VERSIONS[item["kind"]]
        assert set(item["spec"]) <= FIELDS[item["kind"]]
    for pod in pods(case).values():
        assert set(pod) <= POD
        (container,) = pod["containers"]
        assert set(container) <= CONTAINER


@pytest.mark.parametrize("case", CASES)
def test_selectors_match_the_labels_of_their_pods(case):
    items = manifests(case)
    for item in items.values():
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"]["labels"]
            assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()
    labels = items["Deployment/relumine-server"]["spec"]["template"]["metadata"]["labels"]
    assert items["Service/relumine"]["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize("case", CASES)
def test_pods_run_commands_that_exist_with_settings_that_exist(case):
    commands = typer.main.get_command(cli).commands
    for pod in pods(case).values():
        command, *options = pod["containers"][0]["args"]
        known = [
            option for parameter in commands[command].params for option in (*parameter.opts, *parameter.secondary_opts)
        ]
        assert set(options) <= set(known)
        values = environment(pod)
        assert {name.removeprefix("RELUMINE_").lower() for name in values} <= set(Settings.model_fields)
        given = {name.removeprefix("RELUMINE_").lower(): value for name, value in values.items() if value is not None}
        Settings(database_url="postgresql+psycopg://relumine@postgres/relumine", host="0.0.0.0", **given)  # noqa: S104 - nothing is bound


@pytest.mark.parametrize("case", CASES)
def test_pods_have_no_rights_that_they_do_not_need(case):
    for pod in pods(case).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        security = pod["containers"][0]["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_user_is_that_of_the_image():
    user = re.search(r"useradd --system --uid (\d+)", (ROOT / "service/Dockerfile").read_text())[1]
    assert {pod["securityContext"]["runAsUser"] for pod in pods("defaults").values()} == {int(user)}


def test_the_server_has_more_time_to_end_than_it_needs():
    pod = pods("defaults")["Deployment/relumine-server"]
    assert pod["terminationGracePeriodSeconds"] >= float(environment(pod)["RELUMINE_DRAIN_S"]) + 12


def test_the_database_is_migrated_before_the_servers_start():
    job = manifests("defaults")["Job/relumine-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]


def test_exactly_one_kind_of_pod_sends_notifications():
    with_worker = pods("defaults")
    assert "--no-dispatcher" in with_worker["Deployment/relumine-server"]["containers"][0]["args"]
    assert with_worker["Deployment/relumine-worker"]["containers"][0]["args"] == ["worker"]
    alone = pods("without-worker")
    assert "Deployment/relumine-worker" not in alone
    assert alone["Deployment/relumine-server"]["containers"][0]["args"] == ["serve"]


def test_values_reach_the_pods():
    pod = pods("everything")["Deployment/relumine-server"]
    assert pod["containers"][0]["image"].endswith("@sha256:" + "0" * 64)
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    values = environment(pod)
    assert values["RELUMINE_GROUP_WAIT_S"] == "10"
    assert values["RELUMINE_BOOTSTRAP_KEY"] == "false"
    assert "relumine.example.org" in values["RELUMINE_ALLOWED_HOSTS"].split(",")
    assert "Ingress/relumine" in manifests("everything")
    assert "Ingress/relumine" not in manifests("defaults")


def test_the_chart_has_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version


def test_every_value_is_documented():
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    for name, value in yaml.safe_load((CHART / "values.yaml").read_text()).items():
        names = [f"{name}.{key}" for key in value] if isinstance(value, dict) and value else [name]
        assert [key for key in names if f"`{key}`" not in page] == []
