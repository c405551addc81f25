"""A notification in each format, as tests/contract holds it against the code, and the fields of an alert."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relumine_server.app import create_app
from relumine_server.settings import Settings

GOLDEN = Path(__file__).resolve().parents[2] / "tests/contract/golden/notifications"
FORMATS: Mapping[str, str] = {
    "standard": "standard",
    "slack": "slack",
    "discord": "discord",
    "alertmanager": "alertmanager, version 4 of its webhook",
    "alertmanager-api": "alertmanager, to a URL that ends in /api/v2/alerts",
}
"""Headings by the name of the file."""

SITUATION = "firing, critical"
HEADER = "| field | meaning |\n|---|---|"


def examples() -> str:
    """Return the same notification in every format."""
    parts = []
    for name, heading in FORMATS.items():
        payload = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))[SITUATION]
        text = json.dumps(payload, indent=2, ensure_ascii=False)
        parts.append(f"### {heading}\n\n```json\n{text}\n```")
    return "\n\n".join(parts)


def alert_fields() -> str:
    """Return the table of the fields of an alert, as the OpenAPI document describes them."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(database_url=f"sqlite:///{folder}/x.db"))
        schemas = app.openapi()["components"]["schemas"]
        app.state.services.database.close()
    return "\n".join([HEADER, *(_row(name, field) for name, field in schemas["Alert"]["properties"].items())])


def _row(name: str, field: Mapping[str, Any]) -> str:
    meaning = " ".join(str(field.get("description", "")).split()).rstrip(".")
    return f"| `{name}` | {meaning[:1].upper()}{meaning[1:]} |".replace("``", "`")
