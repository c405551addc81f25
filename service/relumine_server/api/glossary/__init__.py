"""The words of the HTTP API for its OpenAPI document: fields and parameters, each with a description and an example.

A key is the name of a field, or ``Model.field`` where a model means something else by that name. The schemas that an
upload is made of are listed under the names of their models in ``relumine.schemas``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from relumine_server.api.glossary.notifications import NOTIFICATION_FIELDS
from relumine_server.api.glossary.parameters import PARAMETERS
from relumine_server.api.glossary.runs import RUN_FIELDS
from relumine_server.api.glossary.uploads import EXAMPLES, UPLOAD_FIELDS

__all__ = ["EXAMPLES", "Word", "field", "parameter"]


class Word(NamedTuple):
    """The description of a field or parameter, and an example of its value."""

    description: str
    example: Any


_FIELDS: Mapping[str, tuple[str, Any]] = {**RUN_FIELDS, **NOTIFICATION_FIELDS, **UPLOAD_FIELDS}


def field(model: str, name: str) -> Word | None:
    """Return the word for a field of a model."""
    entry = _FIELDS.get(f"{model}.{name}") or _FIELDS.get(name)
    return None if entry is None else Word(*entry)


def parameter(operation: str, name: str) -> Word | None:
    """Return the word for a parameter of an operation."""
    entry = PARAMETERS.get(f"{operation}.{name}") or PARAMETERS.get(name)
    return None if entry is None else Word(*entry)
