"""The site builds without a warning, and every link inside of it leads somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
MKDOCS = os.environ.get("RELUMINE_TEST_TOOLS", sys.executable)
"""A Python that has mkdocs-material, where another one runs the tests."""


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.external: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        target = values.get("href" if tag in ("a", "link") else "src") or ""
        if "://" in target or target.startswith("//"):
            self.external.append(target if tag != "a" and values.get("rel") != "canonical" else "")
        elif target and not target.startswith(("mailto:", "data:")):
            self.targets.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [MKDOCS, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_the_site_has_a_page_for_every_file(pages):
    assert len(pages) > len([*ROOT.glob("docs/**/*.md")])


def test_every_link_of_the_site_leads_to_a_page_and_an_anchor(site, pages):
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.path.startswith("/"):  # the page for wrong addresses
                file = site / unquote(parts.path).removeprefix("/relumine/")
            if file.is_dir():
                file /= "index.html"
            is_missing = not file.is_file()
            if not is_missing and parts.fragment and file in pages:
                is_missing = unquote(parts.fragment) not in pages[file].anchors and parts.fragment != "__skip"
            if is_missing:
                broken.append(f"{path.relative_to(site)}: {target}")
    assert broken == []


def test_the_site_loads_nothing_from_other_hosts(pages):
    assert [target for links in pages.values() for target in links.external if target] == []


def test_no_generator_is_published(site):
    assert not (site / "generate").exists()
