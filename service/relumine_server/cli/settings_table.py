"""Prints the tables of ``docs/settings.md``: ``python -m relumine_server.cli.settings_table``."""

from __future__ import annotations

from relumine_server.settings import Settings

FIRST_LIMIT = "max_body_bytes"
HEADER = "| variable | default | meaning |\n|---|---|---|"


def tables() -> tuple[str, str]:
    """Return two Markdown tables: of the settings in general, and of the limits."""
    names = list(Settings.model_fields)
    first_limit = names.index(FIRST_LIMIT)
    return _table(names[:first_limit]), _table(names[first_limit:])


def _table(names: list[str]) -> str:
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `RELUMINE_{name.upper()}` | {_default(field.default)} | {meaning} |")
    return "\n".join([HEADER, *rows])


def _default(value: object) -> str:
    if value is None or value == "":
        return "(none)"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"{value:,.10g}"
    if isinstance(value, int):
        return str(value) if value < 10_000 else f"{value:,}"
    return f"`{value}`"


if __name__ == "__main__":
    print("\n\n".join(tables()))
