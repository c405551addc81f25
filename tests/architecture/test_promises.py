"""Promises that the source itself must keep."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import relumine
from relumine_server.app import create_app
from relumine_server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "client").rglob("*.py"), *(ROOT / "service").rglob("*.py")]


def test_the_server_loads_no_torch():
    code = "import relumine_server.app, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_import_contracts_hold():
    done = subprocess.run([Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_of_the_sdk_the_server_imports_the_contract_only():
    for path in (ROOT / "service").rglob("*.py"):
        for line in path.read_text().splitlines():
            found = re.match(r"\s*(?:from|import) relumine(?:\.(\w+))?(?: import (\w+))?\b(?!_server)", line)
            if found and not line.strip().startswith(("from relumine_server", "import relumine_server")):
                assert (found[1] or found[2]) in (
                    "wire",
                    "table",
                    "views",
                    "curves",
                    "receivers",
                    "policies",
                    "__version__",
                ), f"{path.name}: {line}"


def test_every_public_name_resolves():
    assert set(relumine._HOME) | {"__version__"} == set(relumine.__all__)
    assert all(getattr(relumine, name) is not None for name in relumine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = relumine.nothing


def test_no_hook_waits_for_a_device():
    in_the_training_thread = ("_hooks", "_listener", "_reduce", "_shift", "_site", "_part", "_sentinels", "_origin")
    for name in (*in_the_training_thread, "_device", "_engine", "_clock", "_compiled"):
        source = (ROOT / f"client/relumine/{name}.py").read_text()
        code = re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
        assert not re.search(r"\.(item|cpu|numpy|tolist)\(", code), name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 300


def test_every_setting_is_documented():
    text = (ROOT / "docs/settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`RELUMINE_{name.upper()}`" in text


def test_every_route_is_documented(tmp_path):
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'x.db'}"))
    text = (ROOT / "docs/api.md").read_text()
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text
    app.state.store.close()
