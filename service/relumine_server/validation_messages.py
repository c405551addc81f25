"""Validation errors of pydantic as one sentence, without the input that caused them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_ERRORS = 5

MAX_MESSAGE = 200
"""Characters of the message of one error."""

WITHOUT_INPUT = {
    "json_invalid": "is not valid JSON",
    "literal_error": "is not one of the allowed values",
    "enum": "is not one of the allowed values",
    "string_pattern_mismatch": "has characters that are not allowed here, or not the expected form",
    "union_tag_invalid": "is not one of the allowed kinds",
}

OTHER_UNION_MEMBER = frozenset({"is_instance_of", "list_type", "model_type"})
"""Errors of the members of a union that were not sent: of interest only if there is no other error."""


def describe_errors(errors: Any) -> str:
    """Describe where and why a validation failed, at most five errors.

    Names of fields come from our models. A key that the caller chose, in a dict, is shown as a dot.
    """
    relevant = [error for error in errors if error["type"] not in OTHER_UNION_MEMBER]
    sentences = []
    for error in (relevant or list(errors))[:MAX_ERRORS]:
        location = ".".join(field_name(str(part)) for part in error["loc"])
        sentences.append(f"{location or 'body'}: {_reason(error)}")
    return "; ".join(sentences)


def message(error: Mapping[str, Any]) -> str:
    """Return the message of an error, at most 200 characters, without pydantic's prefix for our own messages."""
    return str(error["msg"]).removeprefix("Value error, ").encode("utf-8", "replace").decode()[:MAX_MESSAGE]


def field_name(name: str) -> str:
    """Return a name if it could be that of a field; a dot for any other text, which must not be repeated."""
    is_plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum() and len(name) <= 40
    return name if is_plain else "·"


def _reason(error: Mapping[str, Any]) -> str:
    """Return the message of an error; in place of one that pydantic fills with the input, a sentence without it."""
    kind = str(error["type"])
    if kind in ("literal_error", "enum") and "expected" in error.get("ctx", {}):
        return f"must be {error['ctx']['expected']}"[:MAX_MESSAGE]
    return WITHOUT_INPUT.get(kind) or message(error)
