"""Scopes of API keys. Apart from ``key``, so that a command can name them without loading pydantic."""

from __future__ import annotations

from typing import Literal, TypeAlias

Scope: TypeAlias = Literal["ingest", "read", "write", "admin"]
