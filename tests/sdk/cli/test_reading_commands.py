"""``relumine runs``, ``alerts``, ``report`` and ``open`` against a real server."""

from __future__ import annotations

import io
import json

import pytest

import relumine
from relumine._cli import browser, output, report, run_lookup
from relumine._runtime import terminal
from relumine.cli import main
from relumine.schemas.printable import printable
from tests.helpers.live_server import listening

HOSTILE = "\x1b]0;x\x07\rforged\nline\x9b1m\u202eevil"


def send_run(client, run_id, *, name=None, project="digits", units=(0,), started_at=None):
    """Send a run whose layers have these numbers of active examples per unit."""
    layers = [{"layer_id": i, "name": f"act{i}", "units": 4} for i, _ in enumerate(units, 1)]
    records = [
        {"layer_id": i, "first_step": step, "step": step, "n_examples": 100, "active": [active] * 4}
        for step in range(5)
        for i, active in enumerate(units, 1)
    ]
    run = {"id": run_id, "project": project, "name": name}
    client.upload({"run": run, "session": "s", "seq": 1, "layers": layers, "records": records})


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The address of a server without runs, which the commands use."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as address:
        monkeypatch.setenv("RELUMINE_URL", address)
        yield address


@pytest.fixture
def client(url):
    with relumine.Client(url) as client:
        yield client


def printed(capsys):
    """The lines on standard output, without those of the server's log."""
    captured = capsys.readouterr()
    return [line for line in captured.out.splitlines() if " [debug " not in line and " [info " not in line]


def names_of_runs(lines):
    heading, *rows = lines
    return [row[heading.index("RUN") :].split()[0] for row in rows]


def error_lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_runs_are_listed_newest_first_with_their_dead_layers(client, capsys):
    send_run(client, "r1", name="healthy", units=(50, 50))
    send_run(client, "r2", name="dead", units=(50, 0))
    assert main(["runs"]) == 0
    heading, newest, older = printed(capsys)
    assert heading.split()[:2] == ["HEALTH", "STATUS"]
    assert "digits/dead" in newest
    assert "1 of 2" in newest
    assert "digits/healthy" in older
    assert "0 of 2" in older
    assert main(["runs", "--json"]) == 0
    listed = json.loads("\n".join(printed(capsys)))
    assert [(run["run_id"], run["layers_dead"], run["layers"]) for run in listed] == [
        ("r2", 1, 2),
        ("r1", 0, 2),
    ]


def test_runs_are_filtered_and_limited_and_what_is_left_out_is_said(client, capsys):
    send_run(client, "r1", project="a")
    send_run(client, "r2", project="b")
    assert main(["runs", "--project", "a"]) == 0
    assert names_of_runs(printed(capsys)) == ["a/r1"]
    assert main(["runs", "--limit", "1"]) == 0
    lines = printed(capsys)
    assert len(lines) == 3
    assert "--limit 10" in lines[-1]
    assert main(["runs", "--status", "failed"]) == 0
    (line,) = printed(capsys)
    assert "relumine runs" in line


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1" * 30, "\u0661"])
def test_a_limit_that_is_no_number_is_refused(limit, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["runs", f"--limit={limit}"])


def test_the_health_of_a_run_comes_first_with_its_reason(client, capsys):
    send_run(client, "fine", units=(50,))
    send_run(client, "lost", name=f"lost{HOSTILE}", units=(50, 0))
    assert main(["runs"]) == 0
    heading, lost, fine = printed(capsys)
    assert heading.startswith("HEALTH")
    assert lost.startswith("damaged")
    assert fine.startswith("healthy")
    assert main(["runs", "--health", "damaged"]) == 0
    assert len(printed(capsys)) == 2
    assert main(["report", "lost"]) == 0
    summary, reason, *_ = printed(capsys)
    assert "  damaged  running" in summary
    assert reason == "  act2 born dead"


def test_a_report_says_where_an_alert_ended_only_with_its_run(client, capsys):
    send_run(client, "r1")
    client.change_run("r1", status="failed")
    alert = next(client.alerts(run_id="r1"))
    assert main(["report", "r1"]) == 0
    assert any(line.endswith(alert.message.partition(" ")[2]) and "[ended]" in line for line in printed(capsys))


@pytest.mark.parametrize(
    ("arguments", "help_in_it"),
    [(["runs"], "relumine sync"), (["alerts"], "relumine alerts --all"), (["alerts", "--all"], "no alerts")],
)
def test_an_empty_list_is_one_sentence(url, arguments, help_in_it, capsys):
    assert main(arguments) == 0
    (line,) = printed(capsys)
    assert url in line
    assert help_in_it in line
    assert main([*arguments, "--json"]) == 0
    assert json.loads("".join(printed(capsys))) == []


def test_an_old_open_alert_is_listed_however_many_newer_ones_are_resolved(client, capsys):
    send_run(client, "old")
    for number in range(4):
        send_run(client, f"new{number}")
        client.change_run(f"new{number}", status="failed")
    (alert,) = client.alerts(run_id="old")
    assert main(["alerts", "--limit", "1"]) == 0
    _, line, *_ = printed(capsys)
    assert line.startswith(alert.severity)
    assert "digits/old" in line
    assert main(["alerts", "new0"]) == 0
    assert "no open alerts" in printed(capsys)[0]
    assert main(["alerts", "new0", "--all", "--json"]) == 0
    assert [item["run_id"] for item in json.loads("\n".join(printed(capsys)))] == ["new0"]


@pytest.mark.parametrize("text", ["abc-1", "abc-", "tree", "digits/tree", "digits/abc-1"])
def test_a_run_is_found_by_id_prefix_name_and_project(client, text, capsys):
    send_run(client, "abc-1", name="tree")
    send_run(client, "xyz-1", name="other")
    assert main(["report", text]) == 0
    assert printed(capsys)[0].startswith("digits/tree")


def test_a_name_comes_before_the_beginning_of_an_id_and_an_id_before_a_name(client, capsys):
    send_run(client, "base-1", name="x")
    send_run(client, "r2", name="base")
    send_run(client, "r3", name="r2")
    for text, title in [("base", "digits/base"), ("r2", "digits/base")]:
        assert main(["report", text]) == 0
        assert printed(capsys)[0].startswith(title)


@pytest.mark.parametrize("command", ["report", "alerts", "open"])
def test_several_matches_are_listed_and_none_names_the_newest(client, command, capsys):
    for number in range(5):
        send_run(client, f"abc-{number}", name="same")
    capsys.readouterr()
    assert main([command, "same"]) == 1
    first, *candidates = error_lines(capsys)
    assert "5 runs match 'same'" in first
    assert [line.split()[0] for line in candidates] == ["abc-4", "abc-3", "abc-2", "abc-1", "abc-0"]
    assert main([command, "nothing"]) == 1
    first, *newest = error_lines(capsys)
    assert "no run 'nothing'" in first
    assert [line.split()[0] for line in newest] == ["abc-4", "abc-3", "abc-2"]


@pytest.mark.parametrize("text", ["", " ", "../projects", "a/b/c", HOSTILE, "x" * 300, "--", "é"])
def test_any_text_for_a_run_is_answered_with_a_sentence(client, text, capsys):
    send_run(client, "r1", name=HOSTILE)
    capsys.readouterr()
    arguments = ["report", "--", text] if text.startswith("-") else ["report", text]
    status = main(arguments)
    captured = capsys.readouterr()
    assert status == (0 if text == HOSTILE else 1)
    lines = [line for line in (captured.out + captured.err).split("\n") if " [debug " not in line]
    assert all(printable(line) == line for line in lines)
    assert not any(line.startswith(("forged", "line")) for line in lines)


def test_a_report_has_the_worst_layers_first_and_twenty_of_them(client, capsys):
    send_run(client, "r1", units=(*[50] * 22, 0))
    assert main(["report", "r1"]) == 0
    lines = printed(capsys)
    assert "act23 born dead" in lines[1]
    assert "1 of 23 layers dead" in lines[2]
    assert lines[3].endswith("/#/runs/r1")
    rows = [line.split() for line in lines[4:] if " act" in line and "[" not in line]
    assert len(rows) == report.MAX_SHOWN
    assert rows[0][-5] == "act23"
    assert any("3 layers" in line and "--all" in line for line in lines)
    assert main(["report", "r1", "--all"]) == 0
    assert len([line for line in printed(capsys)[4:] if " act" in line and "[" not in line]) == 23
    assert main(["report", "r1", "--json"]) == 0
    document = json.loads("\n".join(printed(capsys)))
    assert document["layers"][0]["name"] == "act23"
    assert len(document["layers"]) == 23
    assert document["run"]["run_id"] == "r1"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "is_coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
        (io.StringIO, {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(client, stream, variables, is_coloured, monkeypatch):
    send_run(client, "r1", name=HOSTILE)
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = stream()
    monkeypatch.setattr("sys.stdout", shown)
    assert [main(["runs"]), main(["alerts"]), main(["report", "r1"])] == [0, 0, 0]
    text = shown.getvalue()
    assert ("\x1b[31m" in text) is is_coloured
    for code in (terminal.RED, terminal.YELLOW, terminal.GREEN, terminal.DIM, output.BOLD, "0"):
        text = text.replace(f"\x1b[{code}m", "")
    assert "\x1b" not in text


def test_open_prints_the_page_and_opens_it_where_there_is_a_screen(client, url, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(browser.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    send_run(client, "r1", name="tree")
    assert main(["open", "tree"]) == 0
    assert printed(capsys) == [f"{url}/#/runs/r1"]
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["open", "tree", "--print"]) == 0
    assert opened == []
    assert main(["open"]) == 0
    assert main(["open", "tree"]) == 0
    assert opened == [url, f"{url}/#/runs/r1"]


def test_a_search_by_name_is_bounded(client, capsys, monkeypatch):
    monkeypatch.setattr(run_lookup, "MAX_SEARCHED", 2)
    for number in range(3):
        send_run(client, f"r{number}", name=f"name{number}")
    assert main(["report", "name1"]) == 0
    assert main(["report", "name0"]) == 1
    assert "newest 2 runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--sort", "name"], ["digits/a", "digits/b", "digits/c"]),
        (["--sort=-name"], ["digits/c", "digits/b", "digits/a"]),
        (["--tag", "ci"], ["digits/c"]),
        (["--q", "run-b"], ["digits/b"]),
    ],
)
def test_runs_are_sorted_and_filtered(options, names, client, capsys):
    for name in ("b", "a", "c"):
        send_run(client, f"run-{name}", name=name)
    client.change_run("run-c", tags=["ci"])
    assert main(["runs", *options]) == 0
    assert names_of_runs(printed(capsys)) == names


def test_filters_that_match_nothing_are_said_to_in_one_sentence(client, capsys):
    send_run(client, "r1")
    assert main(["runs", "--tag", "other"]) == 0
    (line,) = printed(capsys)
    assert line == f"No run of {client.url} matches these filters. `relumine runs` lists all."
