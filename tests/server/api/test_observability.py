"""Request ids, JSON logs, metrics, readiness, and several processes on one port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relumine._export.queue import SCALARS
from relumine_server import errors
from relumine_server.app import create_app
from relumine_server.db.dialect import MAX_WAITING
from relumine_server.settings import Settings
from tests.helpers.command_line import run_command
from tests.helpers.live_server import caller
from tests.helpers.server_process import DEADLINE_S, ServerProcess
from tests.helpers.two_project_server import upload

ROOT = Path(__file__).resolve().parents[3]
REASONS = (
    "buffer_full", "metrics", "spool_full", "spool_lost", "spool_unsafe", "refused", "too_large", "unreadable",
)  # fmt: skip
OUTCOMES = ("delivered", "rejected", "unreachable", "endpoint_gone")
TASKS = (
    "maintenance", "compact", "thin", "expire", "delete", "check_clock", "cancel_orphaned_deliveries",
    "trim_delivery_log",
    "evaluator", "evaluate_run", "end_abandoned_run", "delete_ended_silences", "dispatcher",
)  # fmt: skip


def samples_of(text):
    """Return the values of all samples, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_response_has_the_id_of_its_request(call):
    for request_id in ("abc-1.2_3", "x" * 64):
        for path in ("/livez", "/v1/runs", "/nowhere", "/v1/runs/none", "/metrics", "/"):
            assert call("GET", path, headers={"x-request-id": request_id}).headers["x-request-id"] == request_id
    for request_id in ("", "x" * 65, "a b", "ä", '"', "\x7f"):
        response = call("GET", "/v1/runs/none", headers={"x-request-id": request_id.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])
        assert response.json()["request_id"] == response.headers["x-request-id"]


def test_an_unexpected_error_is_a_problem_without_details(app):
    secret = "postgres://ada:secret@host"  # noqa: S105 - must not appear in the response
    app.router.add_api_route("/v1/broken", lambda: 1 / 0 if secret else secret)
    response = caller(app)("GET", "/v1/broken")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert not any(word in response.text for word in ("secret", "Zero", "Traceback", ".py"))


def test_the_metrics_count_what_happened(app, call):
    for seq in (1, 2, 2):
        body = upload("p", "r1", seq) | {"dropped": {"buffer_full": 3 * seq, "sp\u00e4m": 1}}
        assert call("POST", "/v1/uploads", json=body).status_code == 202
    call("POST", "/v1/uploads", content=b"{")
    call("GET", "/v1/runs/none")
    text = call("GET", "/metrics").text
    samples = samples_of(text)
    assert samples["relumine_uploads_total", ("outcome", "accepted")] == 2
    assert samples["relumine_uploads_total", ("outcome", "duplicate")] == 1
    assert samples["relumine_upload_records_total",] == 10
    assert samples["relumine_client_dropped_sampled_steps_total", ("reason", "buffer_full")] == 6
    assert samples["relumine_client_dropped_sampled_steps_total", ("reason", "other")] == 1
    assert samples["relumine_problems_total", ("code", "invalid_upload")] == 1
    assert samples["relumine_problems_total", ("code", "run_not_found")] == 1
    labels = ("method", "GET"), ("route", "/v1/runs/{run_id}"), ("status", "404")
    assert samples["relumine_requests_total", *labels] == 1
    assert samples["relumine_request_duration_seconds_count", ("route", "/v1/uploads")] == 4
    assert samples["relumine_detector_duration_seconds_count",] == 2
    assert sum(value for key, value in samples.items() if key[0] == "relumine_alerts") == 1
    assert samples["relumine_outbox_due",] == 0
    assert samples["relumine_database_up",] == 1
    assert "none" not in text


def test_every_label_is_there_with_zero_before_its_first_event(call):
    samples = samples_of(call("GET", "/metrics").text)
    codes = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    router_codes = {call("GET", "/nowhere").json()["code"], call("DELETE", "/livez").json()["code"]}
    assert len(codes) > 50
    expected = {("relumine_problems_total", ("code", code)) for code in codes | router_codes}
    expected |= {("relumine_client_dropped_sampled_steps_total", ("reason", reason)) for reason in (*REASONS, "other")}
    expected |= {("relumine_delivery_attempts_total", ("outcome", outcome)) for outcome in OUTCOMES}
    expected |= {("relumine_uploads_total", ("outcome", outcome)) for outcome in ("accepted", "duplicate")}
    expected |= {("relumine_maintenance_failures_total", ("task", task)) for task in TASKS}
    assert {key: samples.get(key) for key in expected} == dict.fromkeys(expected, 0)


def test_each_drop_reason_of_the_sdk_is_a_label():
    sources = "".join(path.read_text() for path in (ROOT / "client/relumine").rglob("*.py"))
    reasons = set(re.findall(r'count_dropped\("(\w+)"', sources)) | {SCALARS, "buffer_full"}
    reasons |= set(re.findall(r'return "(spool_\w+)"', sources)) | set(re.findall(r'else "(spool_\w+)"', sources))
    assert reasons == set(REASONS)


def test_metrics_are_available_without_the_database(app, call, monkeypatch):
    monkeypatch.setattr(app.state.services.database.engine, "connect", _raise_operational_error)
    text = app.state.services.metrics.text(app.state.services.stats).decode()
    assert samples_of(text)["relumine_database_up",] == 0
    assert samples_of(text)["relumine_write_queue_length",] == 0
    assert call("GET", "/livez").status_code == 200
    response = call("GET", "/readyz")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


def _raise_operational_error():
    import sqlalchemy as sa

    raise sa.exc.OperationalError("SELECT 1", {}, ConnectionError("unreachable"))


def test_the_server_is_not_ready_while_it_shuts_down_or_its_queue_or_disk_is_full(app, call, monkeypatch, new_database):
    assert call("GET", "/readyz").json() == {"status": "ready", "waiting": 0}
    with monkeypatch.context() as full:
        full.setattr(type(app.state.services.database), "waiting", MAX_WAITING)
        assert call("GET", "/readyz").json()["code"] == "not_ready"
    app.state.services.shutdown.has_begun = True
    assert call("GET", "/readyz").json()["code"] == "stopping"
    assert call("GET", "/livez").status_code == 200
    full_disk = create_app(Settings(database_url=new_database("sqlite"), min_free_bytes=2**60))
    assert caller(full_disk)("GET", "/readyz").json()["code"] == "not_ready"
    full_disk.state.services.database.close()


@pytest.fixture
def start(tmp_path):
    """Start a server process that is terminated after the test."""
    started = []

    def start_one(database_url, *options, **settings):
        started.append(ServerProcess(database_url, tmp_path / f"server{len(started)}", *options, **settings))
        return started[-1].wait_until_ready()

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.terminate()


def test_log_lines_are_json_with_the_ids_of_request_and_run(start, new_database):
    server = start(new_database("sqlite"), RELUMINE_LOG_FORMAT="json", RELUMINE_LOG_LEVEL="debug")
    httpx.post(f"{server.url}/v1/uploads", json=upload("p", "r1"), headers={"x-request-id": "first"})
    httpx.get(f"{server.url}/v1/runs/r2", headers={"x-request-id": "second"})
    httpx.get(f"{server.url}/v1/runs/{'%0a'}evil", headers={"x-request-id": "third"})
    assert server.terminate() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines() if line.startswith("{")]
    by_id = {line["request_id"]: line for line in lines if line.get("request_id") in ("first", "second", "third")}
    first = {"method": "POST", "route": "/v1/uploads", "status": 202, "run_id": "r1", "level": "debug"}
    assert first.items() <= by_id["first"].items()
    second = {"status": 404, "code": "run_not_found", "run_id": "r2", "level": "info"}
    assert second.items() <= by_id["second"].items()
    assert "run_id" not in by_id["third"]


def test_after_sigterm_it_reports_not_ready_serves_for_the_drain_period_and_exits_with_0(start, new_database):
    server = start(new_database("sqlite"), RELUMINE_DRAIN_S="2")
    codes = set()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        server.process.send_signal(signal.SIGTERM)
        while server.process.poll() is None:
            try:
                codes.add(client.get("/readyz").json().get("code"))
                status = client.post("/v1/uploads", json=upload("p", "r1")).status_code
            except httpx.HTTPError:
                break
    assert "stopping" in codes
    assert status == 202
    assert server.process.wait(60) == 0


def test_a_body_that_arrives_byte_by_byte_does_not_delay_the_shutdown(start, new_database):
    server = start(new_database("sqlite"))
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.2)  # the server has begun to read
        assert server.terminate() == 0


def children(pid):
    """Return the ids of the server processes that a process started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in pids if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_several_processes_serve_one_port_and_count_together(start, new_database):
    server = start(new_database("postgresql"), "--workers", "3", RELUMINE_LOG_FORMAT="json")
    statuses = []

    def send(i):
        for seq in range(1, 6):
            with httpx.Client(timeout=60) as client:
                response = client.post(f"{server.url}/v1/uploads", json=upload("p", f"r{i}", seq))
                statuses.append(response.status_code)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 30
    accepted = "relumine_uploads_total", ("outcome", "accepted")
    assert {samples_of(httpx.get(f"{server.url}/metrics").text)[accepted] for _ in range(9)} == {30}
    workers = children(server.process.pid)
    assert len(workers) == 3
    os.kill(workers[0], signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while "server process ended" not in server.stderr and time.monotonic() < deadline:
        time.sleep(0.05)  # the parent checks from time to time
    server.wait_until_ready()
    assert server.terminate() == 0


def test_several_processes_on_sqlite_are_refused_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setenv("RELUMINE_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    for options, environment in ((["--workers", "2"], {}), ([], {"RELUMINE_WORKERS": "2"})):
        result = run_command(["serve", *options], **environment)
        assert result.exit_code == 2
        assert "SQLite allows one server process" in result.stderr
        assert not list(tmp_path.iterdir())
