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


def test_the_server_loads_no_torch():
    code = "import relumine_server.app, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves():
    assert set(relumine._LOCATIONS) | {"__version__"} == set(relumine.__all__)
    assert all(getattr(relumine, name) is not None for name in relumine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = relumine.nothing


def test_no_hook_waits_for_a_device():
    for folder in ("_capture", "_torch"):
        for path in (ROOT / "client/relumine" / folder).rglob("*.py"):
            code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
            assert not re.search(r"\.(item|cpu|numpy|tolist)\(", code), path.name


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
    app.state.services.database.close()
