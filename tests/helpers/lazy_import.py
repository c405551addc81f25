"""Modules that are imported when a test uses them, not when the tests are collected.

Every worker of pytest-xdist collects all tests, and runs only some of them. Frameworks take seconds to import.
"""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """A module by its name; imported by the first access to an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for its marks in every global name of a test
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
