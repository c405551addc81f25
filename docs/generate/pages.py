"""The pages with generated parts, and the text of each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from docs.generate import client_methods, command_options, error_codes, metric_names, payloads, python_names, thresholds
from docs.generate.site_index import site_index
from relumine_server.cli import settings_table

DOCS = Path(__file__).resolve().parents[1]
END = "<!-- end -->"

PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("client.md", "methods"): client_methods.sections,
    ("commands.md", "relumine"): command_options.sdk_sections,
    ("commands.md", "relumine-server"): command_options.server_sections,
    ("error-codes.md", "codes"): error_codes.table,
    ("metrics.md", "metrics"): metric_names.table,
    ("sdk.md", "names"): python_names.sections,
    ("settings.md", "settings"): lambda: settings_table.tables()[0],
    ("settings.md", "limits"): lambda: settings_table.tables()[1],
    ("tuning.md", "thresholds"): thresholds.table,
    ("webhooks.md", "alert fields"): payloads.alert_fields,
    ("webhooks.md", "examples"): payloads.examples,
}
"""What generates the part of a page, by page and marker."""


def split_at(text: str, marker: str) -> tuple[str, str, str]:
    """Return what is before a generated part, the part, and what follows. Raises ValueError without such a part."""
    start = text.index(f"<!-- {marker} -->") + len(f"<!-- {marker} -->")
    end = text.index(END, start)
    return text[:start], text[start:end].strip(), text[end:]


def written_pages() -> Iterator[tuple[Path, str]]:
    """Yield every page with generated parts, and its text with these parts generated again."""
    for name in sorted({page for page, _ in PARTS}):
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        for (page, marker), generate in PARTS.items():
            if page == name:
                start, _, rest = split_at(text, marker)
                text = f"{start}\n\n{generate()}\n\n{rest}"
        yield path, text
    yield DOCS / "llms.txt", site_index(DOCS)


def write_all() -> Iterator[Path]:
    """Write all generated parts, and yield the pages that changed."""
    for path, text in written_pages():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path
