"""The OpenAPI document is complete: descriptions, examples that are valid, plain operation ids, one problem schema."""

from __future__ import annotations

import re

import jsonschema
import pytest

from relumine.schemas.upload import Upload
from relumine_server.app import create_app
from relumine_server.settings import Settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The OpenAPI document of an application."""
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'x.db'}"))
    yield app.openapi()
    app.state.services.database.close()


@pytest.fixture(scope="module")
def operations(document):
    """The operations of the document by their ids."""
    listed = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(method in METHODS for path in document["paths"].values() for method in path)
    return {operation["operationId"]: operation for operation in listed}


def contents(operation):
    """The contents of the bodies of an operation: (where, content)."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield "body", content
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            yield status, content


def reject_invalid(document, schema, example):
    """Raise ValidationError where an example is not an instance of a schema of the document."""
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(example)


def test_every_operation_has_a_plain_id_of_its_own(document, operations):
    assert len(operations) == sum(map(len, document["paths"].values()))
    assert {"list_runs", "read_run", "post_upload", "acknowledge_alert", "create_webhook"} <= set(operations)
    assert [name for name in operations if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []


def test_every_operation_has_a_description_and_an_example_of_each_body(operations):
    missing = [name for name, operation in operations.items() if not operation.get("description")]
    for name, operation in operations.items():
        missing += [(name, where) for where, content in contents(operation) if content.get("example") is None]
        missing += [(name, status) for status, answer in operation["responses"].items() if not answer["description"]]
    assert missing == []


def test_every_parameter_has_a_description_and_a_valid_example(document, operations):
    missing = []
    for name, operation in operations.items():
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "cursor":  # "try it out" fills examples in, and only a server can make a cursor
                assert "example" not in parameter
                continue
            if not parameter.get("description") or "example" not in parameter:
                missing.append((name, parameter["name"]))
            else:
                reject_invalid(document, parameter["schema"], parameter["example"])
    assert missing == []


def test_every_schema_and_field_has_a_description_and_every_field_a_valid_example(document):
    missing = []
    for model, schema in document["components"]["schemas"].items():
        missing += [] if schema.get("description") else [model]
        for name, field in schema.get("properties", {}).items():
            if not field.get("description") or not field.get("examples"):
                missing.append(f"{model}.{name}")
            else:
                reject_invalid(document, field, field["examples"][0])
    assert missing == []


def test_every_example_of_a_body_is_valid(document, operations):
    for operation in operations.values():
        for _, content in contents(operation):
            reject_invalid(document, content["schema"], content["example"])


def test_the_example_of_an_upload_is_a_valid_upload(operations):
    body = operations["post_upload"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/Upload"}
    Upload.model_validate(body["example"])


def test_every_error_response_is_the_same_problem_component(document, operations):
    schemas = document["components"]["schemas"]
    assert set(schemas["Problem"]["required"]) == {"type", "title", "status", "code", "detail", "request_id"}
    assert "HTTPValidationError" not in schemas
    for name, operation in operations.items():
        assert {"422", "500", "503"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            if status >= "400":
                content = response["content"]["application/problem+json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)
                assert content["example"]["code"] in response["description"].split(", ")


def test_every_reference_leads_to_a_schema_and_every_schema_is_used(document):
    used = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert used == set(document["components"]["schemas"])
