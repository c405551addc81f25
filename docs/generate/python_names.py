"""The signatures and docstrings of the public functions of ``relumine`` and ``relumine.remedies``."""

from __future__ import annotations

import inspect
from typing import Any

from docs.generate.markdown import from_docstring, signature_of
from relumine import Monitor, check, remedies, stop_training, verify_webhook, watch
from relumine.remedies import RemedyHandler, RemedyResult

FUNCTIONS = {"relumine.watch": watch, "relumine.check": check, "relumine.verify_webhook": verify_webhook}
STOP = {"relumine.stop_training": stop_training}


def sections() -> str:
    """Return a section for each group of names."""
    monitor = {f"Monitor.{name}": getattr(Monitor, name) for name in _public(Monitor)}
    remedy = {name: getattr(remedies, name) for name in remedies.__all__ if inspect.isfunction(getattr(remedies, name))}
    results = {f"RemedyResult.{name}": getattr(RemedyResult, name) for name in _public(RemedyResult)}
    results |= {f"RemedyHandler.{name}": getattr(RemedyHandler, name) for name in _public(RemedyHandler)}
    groups = {
        "### Functions": FUNCTIONS | STOP,
        "### Methods of Monitor": monitor,
        "### Functions of relumine.remedies": {f"remedies.{name}": function for name, function in remedy.items()},
        "### Methods of their results": results,
    }
    parts = []
    for heading, members in groups.items():
        parts.append(heading)
        parts += [_entry(name, member) for name, member in members.items()]
    return "\n\n".join(parts)


def _public(class_: type) -> list[str]:
    """Return the methods that a class itself defines, by name."""
    return [name for name, member in vars(class_).items() if not name.startswith("_") and inspect.isfunction(member)]


def _entry(name: str, member: Any) -> str:
    return f"#### `{name}`\n\n```text\n{signature_of(name, member)}\n```\n\n{from_docstring(inspect.getdoc(member))}"
