"""The record of one layer, before it joins the table of an upload."""

from __future__ import annotations

from typing import Any, NamedTuple

from relumine.schemas.record_table import Array


class LayerRecord(NamedTuple):
    """Scalars by name, and unit columns by name, each of shape (units,). Layer 0 is the run itself."""

    scalars: dict[str, Any]
    columns: dict[str, Array]
