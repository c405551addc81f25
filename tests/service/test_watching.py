"""What watches the server finds what it needs: request ids, lines of JSON, figures, readiness."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from keyed_server import upload
from live_server import caller
from prometheus_client.parser import text_string_to_metric_families

from relumine._buffer import NUMBERS
from relumine_server import errors
from relumine_server.app import create_app
from relumine_server.settings import Settings
from relumine_server.storage.writer import WAITING

DEADLINE_S = 60
ROOT = Path(__file__).resolve().parents[2]
REASONS = ("buffer_full", "numbers", "spool_full", "spool_lost", "refused")
OUTCOMES = ("delivered", "refused", "no_answer", "gone")


def figures(text):
    """Samples by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_answer_carries_the_id_of_its_request(call):
    for sent in ("abc-1.2_3", "x" * 64):
        for path in ("/livez", "/v1/runs", "/nowhere", "/v1/runs/none", "/metrics", "/"):
            assert call("GET", path, headers={"x-request-id": sent}).headers["x-request-id"] == sent
    for sent in ("", "x" * 65, "a b", "ä", '"', "\x7f"):
        own = call("GET", "/v1/runs/none", headers={"x-request-id": sent.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{16}", own.headers["x-request-id"])
        assert own.json()["request_id"] == own.headers["x-request-id"]


def test_what_nobody_thought_of_is_a_problem_that_tells_nothing(app):
    secret = "postgres://ada:secret@host"  # noqa: S105 - to be looked for
    app.router.add_api_route("/v1/broken", lambda: 1 / 0 if secret else secret)
    answer = caller(app)("GET", "/v1/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert not any(word in answer.text for word in ("secret", "Zero", "Traceback", ".py"))


def test_the_figures_add_up(app, call):
    for seq in (1, 2, 2):
        body = upload("p", "r1", seq) | {"dropped": {"buffer_full": 3 * seq, "sp\u00e4m": 1}}
        assert call("POST", "/v1/uploads", json=body).status_code == 202
    call("POST", "/v1/uploads", content=b"{")
    call("GET", "/v1/runs/none")
    text = call("GET", "/metrics").text
    found = figures(text)
    assert found["relumine_uploads_total", ("outcome", "accepted")] == 2
    assert found["relumine_uploads_total", ("outcome", "duplicate")] == 1
    assert found["relumine_upload_records_total",] == 10
    assert found["relumine_client_dropped_looks_total", ("reason", "buffer_full")] == 6
    assert found["relumine_client_dropped_looks_total", ("reason", "other")] == 1
    assert found["relumine_refused_total", ("code", "invalid_upload")] == 1
    assert found["relumine_refused_total", ("code", "run_not_found")] == 1
    answered = ("method", "GET"), ("route", "/v1/runs/{run_id}"), ("status", "404")
    assert found["relumine_requests_total", *answered] == 1
    assert found["relumine_request_seconds_count", ("route", "/v1/uploads")] == 4
    assert found["relumine_detector_seconds_count",] == 2
    assert sum(value for key, value in found.items() if key[0] == "relumine_alerts") == 1
    assert found["relumine_outbox_due",] == 0
    assert found["relumine_database_up",] == 1
    assert "none" not in text


def test_what_can_be_counted_is_there_as_zero_before_it_happens(call):
    found = figures(call("GET", "/metrics").text)
    known = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    answered = {call("GET", "/nowhere").json()["code"], call("DELETE", "/livez").json()["code"]}
    assert len(known) > 50
    awaited = {("relumine_refused_total", ("code", code)) for code in known | answered}
    awaited |= {("relumine_client_dropped_looks_total", ("reason", reason)) for reason in (*REASONS, "other")}
    awaited |= {("relumine_delivery_attempts_total", ("outcome", outcome)) for outcome in OUTCOMES}
    awaited |= {("relumine_uploads_total", ("outcome", outcome)) for outcome in ("accepted", "duplicate")}
    assert {key: found.get(key) for key in awaited} == dict.fromkeys(awaited, 0)


def test_each_reason_that_the_sdk_gives_is_a_label_of_its_own():
    sources = "".join(path.read_text() for path in (ROOT / "client/relumine").rglob("*.py"))
    given = set(re.findall(r'count_dropped\("(\w+)"', sources)) | {NUMBERS, "buffer_full"}
    assert given == set(REASONS)


def test_figures_outlive_the_database(app, call, monkeypatch):
    monkeypatch.setattr(app.state.store.engine, "connect", _away)
    text = app.state.metrics.text(app.state.watched).decode()
    assert figures(text)["relumine_database_up",] == 0
    assert figures(text)["relumine_writes_waiting",] == 0
    assert call("GET", "/livez").status_code == 200
    answer = call("GET", "/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def _away():
    import sqlalchemy as sa

    raise sa.exc.OperationalError("SELECT 1", {}, ConnectionError("away"))


def test_it_is_not_ready_while_it_ends_and_while_its_queue_or_disk_is_full(app, call, monkeypatch, new_database):
    assert call("GET", "/readyz").json() == {"status": "ready", "waiting": 0}
    with monkeypatch.context() as full:
        full.setattr(type(app.state.store), "waiting", WAITING)
        assert call("GET", "/readyz").json()["code"] == "not_ready"
    app.state.ending.has_begun = True
    assert call("GET", "/readyz").json()["code"] == "stopping"
    assert call("GET", "/livez").status_code == 200
    cramped = create_app(Settings(database_url=new_database("sqlite"), min_free_bytes=2**60))
    assert caller(cramped)("GET", "/readyz").json()["code"] == "not_ready"
    cramped.state.store.close()


@pytest.fixture
def start(tmp_path):
    """Start a server; yields (process, url, its log). Settings come as names of the environment."""
    started = []

    def go(database_url, *options, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {**os.environ, "RELUMINE_DATABASE_URL": database_url, **settings}
        command = [sys.executable, "-m", "relumine_server", "serve", "--port", str(port), *options]
        log = tmp_path / f"log{len(started)}"
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=environment, stderr=file)
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        ready(url, process)
        return process, url, log

    yield go
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def ready(url, process):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)  # a real process is waited for
    raise AssertionError("not ready")


def test_lines_of_the_log_are_json_with_the_ids_of_request_and_run(start, new_database):
    process, url, log = start(new_database("sqlite"), RELUMINE_LOG_FORMAT="json", RELUMINE_LOG_LEVEL="debug")
    httpx.post(f"{url}/v1/uploads", json=upload("p", "r1"), headers={"x-request-id": "first"})
    httpx.get(f"{url}/v1/runs/r2", headers={"x-request-id": "second"})
    httpx.get(f"{url}/v1/runs/{'%0a'}evil", headers={"x-request-id": "third"})
    process.terminate()
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    told = {line["request_id"]: line for line in lines if line.get("request_id") in ("first", "second", "third")}
    wanted = {"method": "POST", "route": "/v1/uploads", "status": 202, "run_id": "r1", "level": "debug"}
    assert wanted.items() <= told["first"].items()
    assert {"status": 404, "code": "run_not_found", "run_id": "r2", "level": "info"}.items() <= told["second"].items()
    assert "run_id" not in told["third"]


def test_told_to_end_it_says_so_serves_on_for_a_while_and_exits_with_0(start, new_database):
    process, url, _log = start(new_database("sqlite"), RELUMINE_DRAIN_S="2")
    with httpx.Client(base_url=url) as client:
        process.send_signal(signal.SIGTERM)
        codes = set()
        while process.poll() is None:
            try:
                codes.add(client.get("/readyz").json().get("code"))
                uploaded = client.post("/v1/uploads", json=upload("p", "r1")).status_code
            except httpx.HTTPError:
                break
    assert "stopping" in codes
    assert uploaded == 202
    assert process.wait(30) == 0


def test_a_body_that_drips_does_not_hold_up_the_end(start, new_database):
    process, url, _log = start(new_database("sqlite"))
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.2)  # the server has begun to read
        process.terminate()
        assert process.wait(30) == 0


def children(pid):
    """The server processes that a process started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_several_processes_serve_one_port_and_count_together(start, new_database):
    process, url, log = start(new_database("postgresql"), "--workers", "3", RELUMINE_LOG_FORMAT="json")
    answers = []

    def send(i):
        for seq in range(1, 6):
            with httpx.Client() as client:
                answers.append(client.post(f"{url}/v1/uploads", json=upload("p", f"r{i}", seq)).status_code)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 30
    accepted = "relumine_uploads_total", ("outcome", "accepted")
    assert {figures(httpx.get(f"{url}/metrics").text)[accepted] for _ in range(9)} == {30}
    workers = children(process.pid)
    assert len(workers) == 3
    os.kill(workers[0], signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while "a server process ended" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)  # the parent looks from time to time
    ready(url, process)
    process.terminate()
    assert process.wait(30) == 0


def test_sqlite_takes_one_process_and_says_so(tmp_path):
    for options, environment in ((["--workers", "2"], {}), ([], {"RELUMINE_WORKERS": "2"})):
        done = subprocess.run(
            [sys.executable, "-m", "relumine_server", "serve", *options],
            env={**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}", **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "SQLite takes one process" in done.stderr
        assert not list(tmp_path.iterdir())
