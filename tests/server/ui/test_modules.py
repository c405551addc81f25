"""The modules of the dashboard import what exists: a page that is loaded late would say so only to its reader."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from relumine_server.ui.modules import FOLDER

IMPORT = re.compile(r'import \{([^}]*)\} from "(\.[^"]+)"')
DYNAMIC = re.compile(r'import\("(\.[^"]+)"\)')
PAGE = re.compile(r'load\("(\w+)"\)')
MODULES = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.js"))


def names_in(text: str) -> list[str]:
    return [name.split(" as ")[0].strip() for name in text.split(",") if name.strip()]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_import_is_exported_where_it_comes_from(module: Path):
    path = FOLDER / module
    text = path.read_text(encoding="utf-8")
    for address in DYNAMIC.findall(text):
        assert (path.parent / address).is_file(), address
    for name in PAGE.findall(text):
        assert (FOLDER / "pages" / f"{name}.js").is_file(), name
    for names, address in IMPORT.findall(text):
        exporter = (path.parent / address).read_text(encoding="utf-8")
        for name in names_in(names):
            assert re.search(rf"export (async )?(function|const|class) {name}\b", exporter), f"{address}: {name}"


def test_every_module_is_imported_by_another():
    texts = [(FOLDER / module).read_text(encoding="utf-8") for module in MODULES]
    html = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.html"))
    for module in MODULES:
        names = (f'/{module.name}"', f'load("{module.stem}")')
        assert any(name in text for text in [*texts, html] for name in names), module


def test_the_page_names_the_modules_of_every_page_and_of_each(call):
    html = call("GET", "/").text
    preloaded = re.findall(r'<link rel="modulepreload" href="static/\w+/([^"]+)">', html)
    assert {"app.js", "core/api.js", "core/elements.js"} <= set(preloaded)
    pages = json.loads(re.search(r'id="page-modules">(.*)</script>', html)[1])
    assert set(pages) == {path.stem for path in (FOLDER / "pages").glob("*.js")}
    assert {"pages/run.js", "charts/timeline.js", "pages/run/head.js"} <= set(pages["run"])
    for names in pages.values():
        assert all((FOLDER / name).is_file() for name in names)
        assert not set(names) & set(preloaded)
