"""The code blocks of the documentation, with the mark in front of each.

A mark is a comment in the line before a block:

    <!-- not run: REASON -->           the block needs something that tests do not have
    <!-- needs: MODULE -->             the block runs where the module is installed
    <!-- file: NAME -->                the block is a file, for the commands behind it
    <!-- file: NAME, from OTHER -->    the same: OTHER, with the block in place of its `with` line
    <!-- output -->                    the block is what the block before it prints; … stands for any text
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md", "examples/README.md")),
    ]
)
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[^\n]*?) -->\n *)?```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"python", "sh", "text", "json", "yaml", "ini", "nginx"}
RUN = ("python", "sh")


class Block(NamedTuple):
    """A code block of a page: its language, its mark ("" without one), its code, and the line that it begins at."""

    language: str
    mark: str
    code: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in BLOCK.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] for line in match["code"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("code"))
        blocks.append(Block(match["language"], match["mark"] or "", code, line))
    return blocks


def prose_of(page: Path) -> str:
    """Return the text of a page without code blocks and code spans."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"<!--.*?-->", "", re.sub(r"`[^`\n]*`", "`code`", text), flags=re.DOTALL)
