"""The tables in docs/settings.md are those that the settings themselves generate."""

from __future__ import annotations

from pathlib import Path

import pytest

from relumine_server.cli.settings_table import tables

DOCUMENT = Path(__file__).parents[2] / "docs/settings.md"
GENERAL, LIMITS = tables()


@pytest.mark.parametrize(("marker", "table"), [("settings", GENERAL), ("limits", LIMITS)])
def test_the_document_contains_the_generated_table(marker, table):
    text = DOCUMENT.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"<!-- {marker} -->")
    documented, _, _ = rest.partition("<!-- end -->")
    assert documented.strip() == table, "run python -m relumine_server.cli.settings_table and paste its output"
