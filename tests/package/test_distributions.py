"""Wheel and sdist hold what they should, describe the package, and the wheel works on its own."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = os.environ.get("RELUMINE_TEST_TOOLS", sys.executable)
"""A Python that has hatchling, where another one runs the tests."""

PACKAGES = {"relumine": ROOT / "client/relumine", "relumine_server": ROOT / "service/relumine_server"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [TOOLS, "-m", "hatchling", "build", "-d", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(built) -> Path:
    (path,) = built.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


def source_files(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if "__pycache__" not in path.parts and path.suffix != ".pyc"]


def test_the_wheel_has_every_file_of_both_packages_and_the_migrations(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = []
    for package, folder in PACKAGES.items():
        missing += [path for path in source_files(folder) if f"{package}/{path.relative_to(folder)}" not in names]
    migrations = [path.relative_to(ROOT / "migrations") for path in source_files(ROOT / "migrations")]
    assert missing + [path for path in migrations if f"relumine_server/_migrations/{path}" not in names] == []
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert {"relumine/py.typed", "relumine_server/py.typed"} <= names


def test_the_sdist_has_what_a_build_needs_and_the_documentation(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "mkdocs.yml",
        "docs/index.md", "docs/images/run-died.png", "examples/plain_loop.py", "client/relumine/__init__.py",
        "service/relumine_server/__init__.py", "migrations/env.py",
    } <= names  # fmt: skip
    assert not [name for name in names if name.startswith((".venv", "site/", "tests/")) or name.endswith(".db")]


def test_the_wheel_that_the_sdist_gives_is_the_same(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [TOOLS, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    folder = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}

    def output(*command):
        result = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    location = output("-c", "import relumine, relumine_server; print(relumine.__file__, relumine_server.__file__)")
    assert location.count(str(folder)) == 2
    assert output("-m", "relumine", "--version").strip() == f"relumine {PROJECT['version']}"
    output("-m", "relumine_server", "migrate", "--database-url", "sqlite:///x.db")
    output("-m", "relumine_server", "doctor", "--database-url", "sqlite:///x.db")


def test_the_metadata_is_complete(metadata):
    assert metadata["Name"] == "relumine"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Requires-Python"] == ">=3.11"
    assert len(metadata["Summary"]) < 120
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL"))
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert all(url.startswith("https://") for url in urls.values())
    classifiers = metadata.get_all("Classifier")
    assert "Typing :: Typed" in classifiers
    assert any(name.startswith("Development Status ::") for name in classifiers)
    assert {"server", "postgres", "demo", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_torch_is_in_no_extra_of_users(metadata):
    required = [line for line in metadata.get_all("Requires-Dist") if line.startswith("torch")]
    assert all(re.search(r"extra == '(demo|dev)'", line.replace('"', "'")) for line in required)


def test_the_readme_on_the_package_index_has_a_picture_and_no_broken_link(metadata):
    text = metadata.get_payload()
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_versions_agree(metadata):
    import relumine

    citation = (ROOT / "CITATION.cff").read_text()
    assert relumine.__version__ == metadata["Version"] == re.search(r"^version: (\S+)", citation, re.MULTILINE)[1]
