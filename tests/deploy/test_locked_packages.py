"""The image holds exactly the packages that the lock files name, each file by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "service/Dockerfile").read_text()
PINNED = re.compile(r"^([\w.-]+)==(\S+) \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE)


def locked(name):
    """The version of each package in a lock file, by its canonical name."""
    text = (ROOT / "service" / name).read_text()
    versions = {canonicalize_name(package): version for package, version, _ in PINNED.findall(text)}
    assert len(versions) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)), "a package has no hash"
    return versions


@pytest.mark.parametrize("extra", ["server", "postgres", None])
def test_the_lock_has_every_package_that_the_server_asks_for(extra):
    versions = locked("requirements.lock")
    texts = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, texts):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: make lock"


def test_the_build_of_the_package_is_locked_too():
    assert "hatchling" in locked("build-requirements.lock")


def test_the_image_installs_nothing_without_a_hash():
    installs = re.findall(r"pip install ([^&\n]*)", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-deps /wheels/" in install for install in installs)
