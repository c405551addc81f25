"""Which recipes are held out. Drawn once, by chance within each group and family; never changed to please a number."""

from __future__ import annotations

REPORT: frozenset[str] = frozenset()
