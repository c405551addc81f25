"""Every setting accepts valid values; any other value ends the command with one line that names the setting."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import annotated_types
import pytest
import typer

from relumine_server.app import create_app
from relumine_server.cli.common import load_settings
from relumine_server.settings import Settings
from tests.helpers.command_line import run_command
from tests.helpers.forked_python import SERVERS
from tests.helpers.live_server import caller
from tests.helpers.two_project_server import upload

HOSTILE = ("", "-1", "1e999", "abc", "9" * 30, "9" * 5000, "inf", "nan", "1e30", "///", "a b", "\t", "ü")
CHECKED_WHEN_USED = {"host", "database_url"}  # an address is checked when it is resolved
VALID = {
    "public_url": {"": None},  # host and port
    "run_retention_days": {"": None},  # never
    "allowed_hosts": {text: text for text in ("", "\t", "1e999", "abc", "inf", "nan", "1e30")},  # names like any other
    "trusted_proxies": {text: text for text in ("", "\t")},
    "webhook_allowed_targets": {text: text for text in ("", "\t", "1e999", "abc", "inf", "nan", "1e30")},
}
NUMBERS = {
    name: [bound.le for bound in field.metadata if isinstance(bound, annotated_types.Le)]
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float, int | None)
}


def variable(name):
    return f"RELUMINE_{name.upper()}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - CHECKED_WHEN_USED))
def test_an_invalid_value_is_one_line_with_the_name_of_the_variable(name, monkeypatch, capsys):
    valid = VALID.get(name, {})
    for text in HOSTILE:
        monkeypatch.setenv(variable(name), text)
        if text in valid:
            assert getattr(load_settings(), name) == valid[text]
            continue
        with pytest.raises(typer.Exit) as end:
            load_settings()
        output = capsys.readouterr().err
        assert end.value.exit_code == 2
        assert output.startswith(f"relumine-server: settings cannot be used: {variable(name)}: ")
        assert output.count("\n") == 1
        assert "Value error" not in output


@pytest.mark.parametrize("text", ["", "-1", "1e999", "abc.invalid", "9" * 30, "9" * 5000, "a..b", "///", "203.0.113.7"])
def test_a_host_that_is_no_address_of_this_machine_is_one_line(text, tmp_path):
    output = refused({"RELUMINE_HOST": text, "RELUMINE_INSECURE_NO_AUTH": "true", "RELUMINE_PORT": "0"}, tmp_path)
    assert "RELUMINE_HOST" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["keys", "list"], ["backup", "copy.db"], ["doctor"]])
@pytest.mark.parametrize(
    "text", ["", "-1", "abc", "9" * 5000, "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql://h:abc/x"]
)
def test_an_invalid_database_url_is_one_line(text, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "RELUMINE_DATABASE_URL" in refused({"RELUMINE_DATABASE_URL": text}, tmp_path, command)
    assert not list(tmp_path.iterdir())


def refused(environment, folder, command=("serve",)):
    """Run a command that must be refused with exit status 2; return its one line of output."""
    variables = {"RELUMINE_DATABASE_URL": f"sqlite:///{folder / 'x.db'}", **environment}
    result = run_command(command, **variables)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit), result.output
    assert result.output.count("\n") == 1
    return result.output


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("public_url", "not a url", "https://"),
        ("public_url", "ftp://relumine.example", "https://"),
        ("public_url", "https://ada:secret@relumine.example", "credentials"),
        ("public_url", "https://relumine.example/?a", "no ?"),
        ("public_url", "https:// relumine.example", "no host"),
        ("public_url", "https://relumine.example:99999", "no URL"),
        ("allowed_hosts", "///", "neither an ASCII host name"),
        ("allowed_hosts", "good.example, relumine.example:80", "without a port"),
        ("allowed_hosts", "*.example", "'*.example' is neither"),
        ("webhook_allowed_targets", "10.0.0.0/99", "neither a host nor a network"),
        ("webhook_allowed_targets", "127.0.0.0/8", "is this host"),
    ],
)
def test_unusable_names_and_urls_are_refused_with_the_reason(name, text, reason, monkeypatch, capsys):
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(typer.Exit):
        load_settings()
    output = capsys.readouterr().err
    assert reason in output
    assert "secret" not in output


def test_names_and_urls_in_their_usual_forms_are_accepted(monkeypatch):
    for text in (
        "https://relumine.example",
        "http://[::1]:8000/below/",
        "http://10.0.0.1:7358",
        "https://a_b.example.",
    ):
        monkeypatch.setenv("RELUMINE_PUBLIC_URL", text)
        assert load_settings().base_url == text.rstrip("/")
    monkeypatch.setenv("RELUMINE_ALLOWED_HOSTS", " Relumine.example., xn--bcher-kva.example,10.0.0.1 ,[::1],*,")
    assert load_settings().hosts == ["relumine.example", "xn--bcher-kva.example", "10.0.0.1", "::1", "*"]
    monkeypatch.delenv("RELUMINE_PUBLIC_URL")
    assert load_settings(host="::1").base_url == "http://[::1]:7358"


def test_an_invalid_option_is_reported_by_the_name_of_the_option(capsys):
    with pytest.raises(typer.Exit):
        load_settings(port=99_999)
    assert "--port: " in capsys.readouterr().err


def test_the_server_works_with_the_maximum_of_every_number(database_url):
    assert all(NUMBERS.values())
    maxima = {name: maximum for name, (maximum,) in NUMBERS.items()}
    app = create_app(Settings(**maxima | {"database_url": database_url}))
    with closing(app.state.services.database):
        call = caller(app)
        assert call("POST", "/v1/uploads", json=upload("p", "r1")).status_code == 202
        hook = {"url": "https://hooks.example/x", "min_severity": "info"}
        assert call("POST", "/v1/webhooks", json=hook).status_code == 201
        assert call("POST", "/v1/uploads", json=upload("p", "r1", 2)).status_code == 202
        app.state.services.evaluator.run_once()
        app.state.services.maintenance.run_once()
        app.state.services.dispatcher.run_once()
        assert call("GET", "/v1/runs/r1").json()["last_step"] > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stall_timeout_s", "inf"),
        ("header_timeout_s", "nan"),
        ("host", "nowhere.invalid"),
        ("public_url", "not a url"),
        ("allowed_hosts", "///"),
        ("webhook_allowed_targets", "10.0.0.0/99"),
    ],
)
def test_a_server_with_an_invalid_setting_exits_with_2_and_one_line(name, text, tmp_path):
    result = serve(tmp_path, **{variable(name): text})
    assert result.returncode == 2
    assert result.stderr.startswith("relumine-server: ")
    assert variable(name) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_in_use_is_one_line_and_no_key_is_created(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = serve(tmp_path, RELUMINE_PORT=str(listener.getsockname()[1]), RELUMINE_BOOTSTRAP_KEY="true")
    assert (result.returncode, result.stdout) == (2, "")
    assert "RELUMINE_PORT" in result.stderr
    assert "in use" in result.stderr
    assert not list(tmp_path.iterdir())


def serve(folder, **environment):
    """Run a server that must end by itself."""
    variables = {"RELUMINE_DATABASE_URL": f"sqlite:///{folder / 'x.db'}", "RELUMINE_INSECURE_NO_AUTH": "false"}
    return SERVERS.run(["-m", "relumine_server", "serve"], env={**os.environ, **variables, **environment})
