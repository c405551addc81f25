"""Every setting takes what it can use; anything else ends the command with a sentence that names it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing

import annotated_types
import pytest
import typer
from keyed_server import upload
from live_server import caller
from typer.testing import CliRunner

from relumine_server.__main__ import cli
from relumine_server.app import create_app
from relumine_server.command import settings_of
from relumine_server.settings import Settings

COMMAND = [sys.executable, "-m", "relumine_server", "serve"]
HOSTILE = ("", "-1", "1e999", "abc", "9" * 30, "9" * 5000, "inf", "nan", "1e30", "///", "a b", "\t", "ü")
SEEN_WHEN_USED = {"host", "database_url"}  # where an address leads is known when it is looked up
MEANT = {
    "public_url": {"": None},  # host and port
    "expire_days": {"": None},  # never
    "allowed_hosts": {text: text for text in ("", "\t", "1e999", "abc", "inf", "nan", "1e30")},  # names like any other
    "webhook_allow": {text: text for text in ("", "\t", "1e999", "abc", "inf", "nan", "1e30")},
}
NUMBERS = {
    name: [bound.le for bound in field.metadata if isinstance(bound, annotated_types.Le)]
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float, int | None)
}


def variable(name):
    return f"RELUMINE_{name.upper()}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - SEEN_WHEN_USED))
def test_what_cannot_be_used_is_a_sentence_with_the_name_of_the_variable(name, monkeypatch, capsys):
    meant = MEANT.get(name, {})
    for text in HOSTILE:
        monkeypatch.setenv(variable(name), text)
        if text in meant:
            assert getattr(settings_of(), name) == meant[text]
            continue
        with pytest.raises(typer.Exit) as end:
            settings_of()
        said = capsys.readouterr().err
        assert end.value.exit_code == 2
        assert said.startswith(f"relumine-server: settings cannot be used: {variable(name)}: ")
        assert said.count("\n") == 1
        assert "Value error" not in said


@pytest.mark.parametrize("text", ["", "-1", "1e999", "abc.invalid", "9" * 30, "9" * 5000, "a..b", "///", "203.0.113.7"])
def test_a_host_that_is_none_of_ours_is_a_sentence(text, tmp_path):
    said = refused({"RELUMINE_HOST": text, "RELUMINE_INSECURE_NO_AUTH": "true", "RELUMINE_PORT": "0"}, tmp_path)
    assert "RELUMINE_HOST" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["keys", "list"], ["backup", "copy.db"], ["doctor"]])
@pytest.mark.parametrize(
    "text", ["", "-1", "abc", "9" * 5000, "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql://h:abc/x"]
)
def test_an_address_that_names_no_database_is_a_sentence(text, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "RELUMINE_DATABASE_URL" in refused({"RELUMINE_DATABASE_URL": text}, tmp_path, command)
    assert not list(tmp_path.iterdir())


def refused(environment, folder, command=("serve",)):
    """The one line that a command ends with."""
    given = {"RELUMINE_DATABASE_URL": f"sqlite:///{folder / 'x.db'}", **environment}
    done = CliRunner().invoke(cli, command, env=given)
    assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
    assert done.output.count("\n") == 1
    return done.output


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("public_url", "not a url", "https://"),
        ("public_url", "ftp://relumine.example", "https://"),
        ("public_url", "https://ada:secret@relumine.example", "credentials"),
        ("public_url", "https://relumine.example/?a", "no ?"),
        ("public_url", "https:// relumine.example", "no host"),
        ("public_url", "https://relumine.example:99999", "no URL"),
        ("allowed_hosts", "///", "neither a name"),
        ("allowed_hosts", "good.example, relumine.example:80", "without a port"),
        ("allowed_hosts", "*.example", "'*.example' is neither"),
        ("webhook_allow", "10.0.0.0/99", "neither a host nor a network"),
        ("webhook_allow", "127.0.0.0/8", "is this host"),
    ],
)
def test_names_and_urls_that_no_request_could_match_are_refused_with_the_reason(name, text, why, monkeypatch, capsys):
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(typer.Exit):
        settings_of()
    said = capsys.readouterr().err
    assert why in said
    assert "secret" not in said


def test_names_and_urls_in_their_usual_forms_are_taken(monkeypatch):
    for text in (
        "https://relumine.example",
        "http://[::1]:8000/below/",
        "http://10.0.0.1:7358",
        "https://a_b.example.",
    ):
        monkeypatch.setenv("RELUMINE_PUBLIC_URL", text)
        assert settings_of().base_url == text.rstrip("/")
    monkeypatch.setenv("RELUMINE_ALLOWED_HOSTS", " Relumine.example., xn--bcher-kva.example,10.0.0.1 ,[::1],*,")
    assert settings_of().hosts == ["relumine.example", "xn--bcher-kva.example", "10.0.0.1", "::1", "*"]
    monkeypatch.delenv("RELUMINE_PUBLIC_URL")
    assert settings_of(host="::1").base_url == "http://[::1]:7358"


def test_an_option_is_called_by_its_own_name(capsys):
    with pytest.raises(typer.Exit):
        settings_of(port=99_999)
    assert "--port: " in capsys.readouterr().err


def test_every_number_has_a_largest(database_url):
    assert all(NUMBERS.values())
    largest = {name: least for name, (least,) in NUMBERS.items()}
    app = create_app(Settings(**largest | {"database_url": database_url}))
    with closing(app.state.store):
        call = caller(app)
        assert call("POST", "/v1/uploads", json=upload("p", "r1")).status_code == 202
        hook = {"url": "https://hooks.example/x", "severity": "info"}
        assert call("POST", "/v1/webhooks", json=hook).status_code == 201
        assert call("POST", "/v1/uploads", json=upload("p", "r1", 2)).status_code == 202
        app.state.sweep.run_once()
        app.state.caretaker.run_once()
        app.state.courier.run_once()
        assert call("GET", "/v1/runs/r1").json()["last_step"] > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stalled_after_s", "inf"),
        ("header_timeout_s", "nan"),
        ("host", "nowhere.invalid"),
        ("public_url", "not a url"),
        ("allowed_hosts", "///"),
        ("webhook_allow", "10.0.0.0/99"),
    ],
)
def test_a_real_server_ends_with_2_and_one_line(name, text, tmp_path):
    done = serve(tmp_path, **{variable(name): text})
    assert done.returncode == 2
    assert done.stderr.startswith("relumine-server: ")
    assert variable(name) in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_a_sentence_and_no_key_is_made_and_lost(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve(tmp_path, RELUMINE_PORT=str(taken.getsockname()[1]), RELUMINE_FIRST_KEY="true")
    assert (done.returncode, done.stdout) == (2, "")
    assert "RELUMINE_PORT" in done.stderr
    assert "in use" in done.stderr
    assert not list(tmp_path.iterdir())


def serve(folder, **environment):
    """A server that is expected to end by itself."""
    given = {"RELUMINE_DATABASE_URL": f"sqlite:///{folder / 'x.db'}", "RELUMINE_INSECURE_NO_AUTH": "false"}
    return subprocess.run(
        COMMAND, env={**os.environ, **given, **environment}, capture_output=True, text=True, timeout=60
    )
