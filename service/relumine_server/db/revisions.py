"""Revisions of the schema, read from the names in the migrations' files without loading Alembic."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def script_location() -> Path:
    """Return the folder of the migrations: in the package in a wheel, at the top of a checkout otherwise."""
    in_wheel = _PACKAGE / "_migrations"
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent.parent / "migrations"


@lru_cache(maxsize=4)  # /readyz asks every few seconds
def head(folder: Path) -> str | None:
    """Return the revision that no other revision of a folder follows; None for an empty folder."""
    parents = dict(_revision_and_parent(file) for file in sorted(folder.glob("versions/*.py")))
    newest = parents.keys() - parents.values()
    return max(newest, default=None)


def _revision_and_parent(file: Path) -> tuple[str, str | None]:
    """Return the constants ``revision`` and ``down_revision`` of a migration."""
    values: dict[str, str | None] = {}
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in ("revision", "down_revision"):
                values[name] = ast.literal_eval(statement.value)
    revision = values["revision"]
    assert revision is not None, file  # noqa: S101 - Alembic needs it, too
    return revision, values["down_revision"]
