"""What servers, layers and URLs say reaches no terminal as it is: control characters, passwords, other run ids."""

from __future__ import annotations

import base64
import io
import logging
import traceback

import httpx
import pytest
import torch

import relumine
from relumine._runtime.log import StderrHandler, logger
from relumine._runtime.settings import resolve_settings
from relumine.cli import main
from relumine.errors import ServerError, SettingsError, TrainingStopped
from relumine.schemas.printable import printable
from tests.helpers.alarming_transport import critical
from tests.helpers.live_server import listening

IS_REPLACED = StderrHandler._is_replaced
HOSTILE = "\x1b[2J\x07\rrelumine: all is well\nnext\x9b1m\u202eevil\u2066\u2028\ud800\u200b"
SECRET = "tok3n"  # noqa: S105 - of no server
ADDRESS = f"http://me:{SECRET}@127.0.0.1:9"


def assert_safe(text):
    lines = text.splitlines()
    assert all(printable(line) == line for line in lines), lines
    assert not any(line.startswith("relumine: all is well") for line in lines)
    return lines


def test_every_unprintable_character_is_escaped_and_others_stay():
    escaped = printable(HOSTILE)
    assert escaped.isprintable()
    assert escaped.startswith(r"\x1b[2J\x07\rrelumine")
    assert printable("é 中文 עברית 👩‍🔬 a\u00a0b") == "é 中文 עברית 👩‍🔬 a\u00a0b"


@pytest.fixture
def watched(mlp, train):
    """Trains a small model to its end."""

    def run(**options):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, every=1, **options) as monitor:
            train(model, optimizer, steps=2, after_step=lambda _step: monitor.flush(1.0))
        return monitor

    return run


@pytest.mark.parametrize("is_replaced", [False, True], ids=["our handler", "a handler of the application"])
def test_words_of_a_server_cannot_steer_a_terminal(is_replaced, watched, memory, monkeypatch, capsys):
    post = memory.post
    alert = critical().model_copy(update={"message": HOSTILE, "url": HOSTILE})
    memory.post = lambda body: post(body).model_copy(update={"alerts": [alert], "run_id": "x\x1b[2J"})
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    if is_replaced:
        monkeypatch.setattr(StderrHandler, "_is_replaced", IS_REPLACED)
        logger.addHandler(handler)
    try:
        monitor = watched()
        logger.warning("%s", HOSTILE)
        try:
            raise ServerError(HOSTILE)  # noqa: TRY301 - its traceback is logged
        except ServerError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    text = stream.getvalue() if is_replaced else capsys.readouterr().err
    assert "all is well" in text
    assert_safe(text)
    assert monitor.run_id in monitor.url
    assert_safe(repr(monitor) + repr(monitor.alerts()))


def test_the_text_of_exceptions_cannot_steer_a_terminal():
    try:
        relumine.stop_training(critical().model_copy(update={"message": HOSTILE}))
    except TrainingStopped as error:
        assert_safe("".join(traceback.format_exception(error)))


def test_report_prints_no_control_character_of_a_run(tmp_path, capsys):
    layer = {"layer_id": 1, "name": f"a{HOSTILE[:-2]}"[:200].replace("\ud800", ""), "units": 4}
    body = {"run": {"id": "r", "name": "\x1b]0;x\x07"}, "session": "s", "seq": 1, "layers": [layer]}
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        httpx.post(f"{url}/v1/uploads", json=body).raise_for_status()
        assert main(["report", "r", "--url", url]) == 0
        assert main(["report", "nothing", "--url", url]) == 1
    output = capsys.readouterr()
    assert r"\x1b]0;x" in output.out
    lines = [line for line in output.out.splitlines() if " [debug " not in line]
    assert_safe("\n".join(lines))
    assert_safe(output.err)


def test_credentials_of_the_url_are_sent_and_never_shown(watched, capsys, monkeypatch):
    monkeypatch.setenv("RELUMINE_URL", ADDRESS)
    settings = resolve_settings()
    assert settings.url == "http://127.0.0.1:9"
    assert SECRET not in repr(settings)
    monitor = watched()
    assert monitor.url.startswith("http://127.0.0.1:9/#/runs/")
    assert main(["sync"]) == 1
    assert main(["report", "r"]) == 1
    with relumine.Client() as client, pytest.raises(ServerError) as error:
        client.run("r")
    assert client.url == "http://127.0.0.1:9"
    output = capsys.readouterr()
    shown = [output.out, output.err, str(error.value), repr(monitor.sdk_stats())]
    shown.append("".join(traceback.format_exception(error.value)))
    encoded = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert not [text for text in shown if SECRET in text or encoded in text]


@pytest.mark.parametrize(
    "url",
    [
        f"me:{SECRET}@host",
        f"ftp://me:{SECRET}@host",
        f"http://me:{SECRET}/x@host",
        f"http://me:{SECRET}#x@host",
        f"http://me:{SECRET}?x@host",
        f"http://me:{SECRET}@host:port",
        f"http://me:{SECRET}@[host",
        f"http://me:{SECRET}@ho\u2100st",
        f"http://host/?token={SECRET}",
        f"http://me:{SECRET}@",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_credentials(url, capsys):
    with pytest.raises(SettingsError) as error:
        resolve_settings(url=url, environ={})
    text = "".join(traceback.format_exception(error.value))
    assert SECRET not in str(error.value)
    assert SECRET not in text.split("SettingsError")[-1]
    assert error.value.__cause__ is None
    assert main(["sync", "--url", url]) == 2
    assert SECRET not in capsys.readouterr().err


def test_credentials_of_the_url_are_used_where_there_is_no_key(monkeypatch):
    from relumine._runtime.http import client_options

    def authorization(**options):
        return client_options(resolve_settings(environ={}, **options))["headers"].get("authorization")

    assert authorization(url="http://me:p%40ss@host") == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert authorization(url="http://me:p%40ss@host", api_key="rlm_ingest_x") == "Bearer rlm_ingest_x"
    assert authorization(url="http://host") is None


def test_the_id_under_which_the_server_keeps_the_run_is_said_once_and_used_from_then_on(watched, memory, capsys):
    post = memory.post
    memory.post = lambda body: post(body).model_copy(update={"run_id": "other-id"})
    monitor = watched(run_id="mine", url="http://127.0.0.1:9")
    assert monitor.run_id == "other-id"
    assert monitor.url == "http://127.0.0.1:9/#/runs/other-id"
    lines = capsys.readouterr().err.splitlines()
    assert sum("keeps this run as other-id" in line for line in lines) == 1
    assert lines[-1].endswith("/#/runs/other-id")
    assert {upload.run.id for upload in memory.uploads} == {"mine"}


def test_a_second_training_under_the_same_run_id_is_said_once(watched, memory, capsys):
    post = memory.post
    memory.post = lambda body: post(body).model_copy(update={"is_shared": True})
    watched(run_id="mine")
    output = capsys.readouterr().err
    assert output.count("another training uploads under run id mine; give each its own run_id") == 1
