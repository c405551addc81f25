"""A section for every group of methods of ``relumine.Client``, with signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from docs.generate.markdown import from_docstring, signature_of
from relumine import Client

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Runs": ("runs", "count_runs", "run_traces", "run", "change_run", "delete_run", "upload"),
    "Layers, units and metrics": (
        "layers", "overview", "series", "series_frame", "units", "unit_map", "unit_table", "export_units",
        "logged_metrics", "export",
    ),
    "Incidents and alerts": (
        "incidents", "incident", "acknowledge_incident", "resolve_incident", "alerts", "alert", "events", "acknowledge",
        "resolve", "silences", "silence", "unsilence",
    ),
    "Projects": ("projects", "policy", "set_policy", "backtest", "retention", "set_retention"),
    "Webhooks": (
        "webhooks", "webhook", "create_webhook", "change_webhook", "delete_webhook", "test_webhook", "rotate_secret",
        "deliveries", "delivery", "redeliver",
    ),
    "Keys and the server": ("keys", "create_key", "revoke_key", "session", "server", "close"),
}  # fmt: skip
"""Every method of the client, in the order of the page."""


def sections() -> str:
    """Return a heading for each group, and each of its methods with its signature and its docstring."""
    parts = []
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}")
        parts += [_method(name) for name in names]
    return "\n\n".join(parts)


def _method(name: str) -> str:
    method: Any = getattr(Client, name)
    return f"### `{name}`\n\n```text\n{signature_of(name, method)}\n```\n\n{from_docstring(inspect.getdoc(method))}"
