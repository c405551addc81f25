"""The file llms.txt: the pages of the site, each with its first sentence, for programs that read documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HEAD = """# Relumine

> Relumine detects dying ReLU units while a PyTorch model trains. It warns before a layer is lost, names the likely
> cause, proposes a remedy with a number in it, and notifies people and programs. The SDK is one line in the training
> script; a FastAPI server stores, detects and notifies; `mode="local"` needs no server.

Start with quickstart.md. For programs: `relumine alerts --json`, `relumine report RUN --json`, the HTTP API (api.md,
OpenAPI at /openapi.json of a server), and signed webhooks (webhooks.md).
"""


def site_index(docs: Path) -> str:
    """Return the index: a heading for each part of the site, a line for each page."""
    text = (docs.parent / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = yaml.safe_load(text)["nav"]
    return "\n".join([HEAD, *_lines(docs, navigation, "")]) + "\n"


def _lines(docs: Path, entries: list[Any], part: str) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield _line(docs, entry)
            continue
        ((name, target),) = entry.items()
        if isinstance(target, list):
            yield f"\n## {part}{name}\n"
            yield from _lines(docs, target, f"{name}: ")
        elif "://" in target:
            yield f"- [{name}]({target})"
        else:
            yield _line(docs, target)


def _line(docs: Path, page: str) -> str:
    text = (docs / page).read_text(encoding="utf-8").replace("**Context.** ", "")
    title, _, rest = text.partition("\n")
    sentence = re.search(r"^[A-Z`][^|\n`].*?(?:[.:](?=\s)|\Z)", rest, re.MULTILINE | re.DOTALL)
    summary = " ".join(sentence[0].split()) if sentence else ""
    return f"- [{title.lstrip('# ')}]({page}): {summary}"
