"""Describes every field and parameter of an OpenAPI document from the glossary, and gives an example of each.

Examples of bodies are composed of the examples of their fields.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from relumine_server.api import glossary

JsonObject: TypeAlias = dict[str, Any]

REF_PREFIX = "#/components/schemas/"
UNDESCRIBED = {
    "Page": "A page of a list; ``next_cursor`` is opaque and null at the end.",
    "SentJsonValue": "Any JSON value.",
}
"""Descriptions of schemas that have no docstring, by the beginning of their names."""
SENT_PREFIX = "Sent"
"""Beginning of the names of schemas that only uploads consist of."""


def describe(document: JsonObject) -> None:
    """Add the descriptions and examples. What the glossary does not list stays as it is; a test names it."""
    schemas: dict[str, JsonObject] = document["components"]["schemas"]
    composer = _Composer(schemas)
    for model, schema in schemas.items():
        schema.setdefault("description", UNDESCRIBED.get(model.partition("_")[0], ""))
        for name, field in schema.get("properties", {}).items():
            word = glossary.field(_bare(model), name)
            if word is not None:
                field.setdefault("description", word.description)
                field.setdefault("examples", [composer.field_example(model, name, field)])
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_operation(operation, composer)


def _describe_operation(operation: JsonObject, composer: _Composer) -> None:
    for parameter in operation.get("parameters", ()):
        word = glossary.parameter(operation["operationId"], parameter["name"])
        if word is not None:
            parameter.setdefault("description", word.description)
            if word.example is not None:
                parameter.setdefault("example", _fitting(parameter["schema"], word.example))
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for body in [*bodies, *operation["responses"].values()]:
        for content in body.get("content", {}).values():
            if "schema" in content:
                content.setdefault("example", composer.compose(content["schema"]))


class _Composer:
    """Composes examples of schemas."""

    def __init__(self, schemas: dict[str, JsonObject]) -> None:
        self._schemas = schemas

    def field_example(self, model: str, name: str, field: JsonObject) -> Any:
        """Return an example of a field; where the glossary has none it is composed."""
        word = glossary.field(_bare(model), name)
        if word is None or word.example is None:
            return self.compose(field)
        return _fitting(field, word.example)

    def compose(self, schema: JsonObject) -> Any:
        """Return an example of a schema; null where it may be null and is no object or list."""
        if "$ref" in schema:
            return self._model_example(schema["$ref"].removeprefix(REF_PREFIX))
        if "anyOf" in schema:
            composite = [branch for branch in schema["anyOf"] if "$ref" in branch or branch.get("type") == "array"]
            return self.compose(composite[0]) if composite else None
        if schema.get("type") == "array":
            return [self.compose(schema["items"])]
        if "additionalProperties" in schema:
            return {"name": self.compose(schema["additionalProperties"])}
        return None

    def _model_example(self, model: str) -> Any:
        if _bare(model) in glossary.EXAMPLES:
            return glossary.EXAMPLES[_bare(model)]
        fields = self._schemas[model].get("properties", {})
        return {name: self.field_example(model, name, field) for name, field in fields.items()}


def _bare(model: str) -> str:
    return model.removeprefix(SENT_PREFIX)


def _fitting(schema: JsonObject, example: Any) -> Any:
    """Return the example as the schema allows it: in a list, or the first of the values that it enumerates."""
    branches = [schema, *schema.get("anyOf", ())]
    if any(branch.get("type") == "array" for branch in branches) and not isinstance(example, list):
        return [example]
    allowed = next((branch["enum"] for branch in branches if "enum" in branch), None)
    if allowed is None or example is None or example in allowed:
        return example
    return allowed[0]
