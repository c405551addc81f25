"""The files around the code are valid, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.name)
def test_an_issue_template_has_what_the_code_host_requires(path):
    template = loaded(path)
    if path.name == "config.yml":
        assert all(set(link) == {"name", "url", "about"} for link in template["contact_links"])
        return
    assert {"name", "description", "body"} <= set(template)
    ids = [item["id"] for item in template["body"]]
    assert len(ids) == len(set(ids))
    for item in template["body"]:
        assert item["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert item["attributes"]["label"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_more_rights_than_it_needs(path):
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            assert "${{ github.event" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_pinned_to_a_commit_and_names_its_version(path):
    lines = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    # The publishing action is used by its release branch, as its authors recommend: it gets fixes for the index there.
    pinned = [line for line in lines if line != "pypa/gh-action-pypi-publish@release/v1"]
    assert pinned
    for line in pinned:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


def test_a_release_is_published_without_a_stored_token_and_with_attestations():
    workflow = loaded(GITHUB / "workflows/release.yml")
    text = (GITHUB / "workflows/release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    jobs = workflow["jobs"]
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["needs"] == "try"
    assert jobs["try"]["needs"] == "build"
    (upload,) = [step for step in jobs["publish"]["steps"] if "pypi-publish" in step.get("uses", "")]
    assert upload["with"] == {"attestations": True}
    assert any("attest-build-provenance" in step.get("uses", "") for step in jobs["publish"]["steps"])
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads "on" as true


def test_the_citation_has_the_required_fields():
    citation = loaded(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    assert citation["type"] == "software"


def test_agents_and_contributors_see_commands_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, name


def test_the_base_of_the_image_can_be_pinned_by_its_digest():
    dockerfile = (ROOT / "service/Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.search(r"^ARG BASE=\S+$", dockerfile, re.MULTILINE)
