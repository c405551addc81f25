"""A hook of mkdocs: links to files outside of docs/ lead to the repository.

On a checkout and on a code host ``../examples/ddp.py`` works as it stands. The site has only the files of docs/.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<=\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Return the page with links to files of the repository made absolute."""
    del files
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def absolute(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if "://" in target or target.startswith(("/", "mailto:")):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return match[0]
        return f"{config.repo_url}/blob/main/{path}{anchor}"

    return LINK.sub(absolute, markdown)
