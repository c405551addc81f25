"""docs/architecture.md names packages, modules and tables that exist."""

from __future__ import annotations

import re
from pathlib import Path

from relumine_server.db import tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
SOURCES = (ROOT / "client/relumine", ROOT / "service/relumine_server")


def test_every_module_that_it_names_exists():
    named = re.findall(r"`((?:_?[a-z]+/)+_?[a-z_]+)(?:\.\w+)?`", PAGE)
    missing = [
        name
        for name in named
        if not name.startswith(("client/", "service/"))
        and not any((source / f"{name}.py").is_file() or (source / name).is_dir() for source in SOURCES)
    ]
    assert len(named) > 40
    assert not missing, missing


def test_it_has_a_sentence_for_every_package():
    for source in SOURCES:
        for package in source.iterdir():
            if (package / "__init__.py").is_file():
                assert f"`{package.name}`" in PAGE, package.name


def test_it_has_a_row_for_every_table():
    for name in tables.metadata.tables:
        assert f"`{name}`" in PAGE, name
