"""The generated parts of the documentation are those that the code generates now."""

from __future__ import annotations

import re

import pytest

import relumine
from docs.generate import client_methods
from docs.generate.pages import DOCS, PARTS, split_at, written_pages

PAGES = dict(written_pages())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_contains_what_the_code_generates(path):
    assert path.read_text(encoding="utf-8") == PAGES[path], "run python -m docs.generate"


@pytest.mark.parametrize(("page", "marker"), PARTS)
def test_a_generated_part_is_not_empty(page, marker):
    _, part, _ = split_at((DOCS / page).read_text(encoding="utf-8"), marker)
    assert len(part) > 200


def test_the_client_page_has_every_method_once():
    methods = [name for name in dir(relumine.Client) if not name.startswith("_")]
    assert sorted(name for group in client_methods.GROUPS.values() for name in group) == methods


def test_a_signature_is_printed_without_self_and_with_its_defaults():
    page = (DOCS / "client.md").read_text(encoding="utf-8")
    assert "units(run_id: str, layer_id: int, *, step: int | None = None) -> Units" in page
    assert not re.search(r"\(self\b", page)


def test_the_index_for_programs_names_every_page_of_the_site():
    index = (DOCS / "llms.txt").read_text(encoding="utf-8")
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f"({page})" not in index] == []
    assert [line for line in index.splitlines() if line.startswith("- [") and line.endswith(": ")] == []
