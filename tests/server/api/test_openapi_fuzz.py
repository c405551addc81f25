"""The server answers as its OpenAPI document says: schemathesis in process, briefly (tests/chaos runs it longer).

The thousands of cases of the phase ``coverage`` are sent with a key only: behind the key check both servers are one.
"""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from relumine_server.app import create_app
from relumine_server.settings import Settings
from tests.chaos.openapi_fuzz import CHECKS_OFF, CHECKS_OFF_IF_OPEN, create_key, create_resources
from tests.helpers.lazy_import import LazyModule

SEED = 1
schemathesis = LazyModule("schemathesis")
asgi = LazyModule("schemathesis.python.asgi")
engine = LazyModule("schemathesis.engine")
events = LazyModule("schemathesis.engine.events")
# Hypothesis warns where another thread uses ``random`` while schemathesis draws: no matter for the server.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")


@pytest.fixture(autouse=True)
def _ended_applications():
    """End the applications that schemathesis started: their background workers would go on beside later tests."""
    yield
    asgi.shutdown_lifespans()


@pytest.fixture(autouse=True)
def _own_checks():
    """Register our own checks with schemathesis, as ``SCHEMATHESIS_HOOKS`` does for its command."""
    from tests.chaos import openapi_fuzz_checks

    assert {openapi_fuzz_checks.valid_data_is_accepted, openapi_fuzz_checks.every_error_is_a_problem}


def schema_of(app, headers, checks_off, examples, phases_off):
    """The OpenAPI document of an application, to be tested with so many examples per operation and phase."""
    config = schemathesis.Config.from_dict(
        {
            "headers": headers,
            "seed": SEED,
            "continue-on-failure": True,
            "checks": {name: {"enabled": False} for name in checks_off},
            "phases": {name: {"enabled": False} for name in ("examples", *phases_off)},
            "generation": {"max-examples": examples},
        }
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


def failures_of(schema):
    """Run every phase; return the failures, and the operations that were tested."""
    failures = []
    tested = set()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.FatalError | events.NonFatalError):
            failures.append(str(event.info if isinstance(event, events.NonFatalError) else event.exception))
        if isinstance(event, events.ScenarioFinished):
            tested.add(event.label)
            for checks in event.recorder.checks.values():
                failures += [
                    f"{event.label}: {check.name}: {check.failure_info.failure}"
                    for check in checks
                    if check.status == engine.Status.FAILURE
                ]
    assert isinstance(event, events.EngineFinished)
    return failures, tested


def check(app, headers, checks_off, examples, phases_off=()):
    schema = schema_of(app, headers, checks_off, examples, phases_off)
    failures, tested = failures_of(schema)
    assert not failures, "\n\n".join(failures[:5])
    operations = {operation.ok().label for operation in schema.get_all_operations()}
    assert operations <= tested


def create(tmp_path, **settings):
    """An application, and a client that may do everything."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    app = create_app(Settings(database_url=url, allowed_hosts="*", requests_per_second=0, **settings))
    return app, TestClient(app, base_url="http://localhost")


def test_an_open_server_answers_as_the_document_says(tmp_path, more_examples):
    app, client = create(tmp_path, insecure_no_auth=True)
    create_resources(client)
    phases_off = ("coverage",) if more_examples == 1 else ()
    check(app, {}, [*CHECKS_OFF, *CHECKS_OFF_IF_OPEN], more_examples, phases_off)


def test_an_admin_is_answered_as_the_document_says(tmp_path, more_examples):
    app, client = create(tmp_path)
    client.headers["authorization"] = f"Bearer {create_key(client, 'admin')}"
    key = create_key(client, "admin")
    create_resources(client)
    check(app, {"Authorization": f"Bearer {key}"}, list(CHECKS_OFF), more_examples)
