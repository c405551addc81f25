"""The description of the package: README.md with its links and pictures made absolute, as package indexes need them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?://|#|mailto:)([^)\s]+)")


class DescriptionHook(MetadataHookInterface):
    """Sets the readme of the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Make the links of the readme absolute."""
        repository = metadata["urls"]["Repository"]
        raw = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")

        def absolute(match: re.Match[str]) -> str:
            base = f"{raw}/main" if match[1].startswith("!") else f"{repository}/blob/main"
            return f"{match[1]}{base}/{match[2]}"

        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": LINK.sub(absolute, text)}
