"""A copy of the migrations with one more revision, which takes a while."""

from __future__ import annotations

import shutil
from pathlib import Path

from relumine_server.db import migrations

REVISION = "9999"

_TEXT = '''"""A revision that takes a while."""

from alembic import op

revision = "{revision}"
down_revision = "{parent}"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE slow (i int)")
    op.execute("SELECT pg_sleep({seconds})")


def downgrade():
    op.execute("DROP TABLE slow")
'''


def copy_with_slow_revision(folder: Path, seconds: float) -> Path:
    """Copy the migrations into ``folder``, with a newest revision that sleeps in one statement; return the folder."""
    parent = migrations.head()
    shutil.copytree(migrations.script_location(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = _TEXT.format(revision=REVISION, parent=parent, seconds=seconds)
    (folder / "versions" / f"{REVISION}_slow.py").write_text(text)
    return folder
