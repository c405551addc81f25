"""The SDK's output: the logger ``relumine``, which writes single lines to stderr unless logging is configured."""

from __future__ import annotations

import io
import logging
from typing import get_args

import pytest
import torch

import relumine
from relumine._export import queue
from relumine._monitor import messages
from relumine._runtime.log import StderrHandler, logger
from relumine.schemas.health import Health, HealthStatus, health_of
from relumine.schemas.upload import Coverage
from relumine.schemas.watching import Watching
from tests.helpers.notification_samples import alert

IS_REPLACED = StderrHandler._is_replaced
WATCHING = Watching(state="watching", last_step=100)
STATS = {
    "steps": 100,
    "acked_steps": 20,
    "last_sampled_step": 100,
    "unanalyzed_steps": 0,
    "sampled_steps": 20,
    "acked_records": 30,
    "spooled_steps": 0,
    "pending_steps": 0,
    "dropped_steps": {},
    "dropped_metrics": 0,
}


def closing_line(alerts, stats, watching=WATCHING, mode="online"):
    unknown = messages.unknown_reason(stats, mode, has_ended=True)
    ending = messages.Ending("p/r", "URL", "finished", health_of(watching, alerts, unknown), watching)
    return messages.finished(ending, alerts, stats)


@pytest.fixture
def train_watched(mlp, train, memory):
    """Watches a small training to its end."""

    def run(on_step=lambda monitor: None, **options):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, every=1, name="demo", **options) as monitor:
            train(model, optimizer, steps=10, after_step=lambda _step: on_step(monitor))
        return monitor

    return run


def test_a_run_writes_a_start_line_and_a_closing_line_to_stderr(train_watched, capsys):
    train_watched()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("relumine: 2/2 ReLUs, 24 units, watching default/demo at http://")
    assert last.startswith("relumine: healthy: default/demo finished: no dead layers (10 of 10 steps sampled). http://")


def test_relumine_quiet_silences_everything(train_watched, monkeypatch, capsys):
    monkeypatch.setenv("RELUMINE_QUIET", "1")
    train_watched()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["relumine", None], ids=["its own logger", "the root logger"])
def test_a_handler_of_the_application_replaces_stderr(name, train_watched, monkeypatch, capsys):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(StderrHandler, "_is_replaced", IS_REPLACED)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configured = logging.getLogger(name)
    configured.addHandler(handler)
    try:
        train_watched()
    finally:
        configured.removeHandler(handler)
    assert capsys.readouterr().err == ""
    first, last = stream.getvalue().splitlines()
    assert first.startswith("2/2 ReLUs")
    assert last.startswith("healthy: default/demo finished: no dead layers")


def test_a_missing_or_closed_stderr_does_not_end_the_training(train_watched, monkeypatch):
    for stream in (None, io.StringIO()):
        if stream is not None:
            stream.close()
        monkeypatch.setattr("sys.stderr", stream)
        assert train_watched().sdk_stats()["errors"] == 0


def test_control_characters_are_escaped_and_a_message_stays_one_line(capsys):
    logger.warning("layer \x1b[2J of\nrun é")
    assert capsys.readouterr().err == "relumine: WARNING layer \\x1b[2J of\\nrun é\n"


@pytest.fixture
def broken_recorder(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("inside")

    monkeypatch.setattr("relumine._capture.forward_hooks.LayerRecorder.record", broken)


@pytest.fixture
def debug_level():
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(logging.INFO)


def test_a_suppressed_error_is_logged_with_its_location_and_without_its_traceback(
    broken_recorder, train_watched, capsys
):
    train_watched()
    output = capsys.readouterr().err
    assert output.count("internal error suppressed, training continues (") == 1
    assert "RuntimeError: inside, test_output.py:" in output
    assert "Traceback" not in output


def test_the_traceback_of_every_suppressed_error_is_logged_at_debug(
    broken_recorder, debug_level, train_watched, capsys
):
    train_watched()
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 10


def test_dropped_metrics_are_not_counted_among_the_sampled_steps(train_watched, monkeypatch, capsys):
    monkeypatch.setattr(queue.SampleQueue.__init__, "__defaults__", (5, 2**30))

    def log_many(monitor):
        for _ in range(20):
            monitor.log(loss=1.0)
        monitor.flush()

    monitor = train_watched(log_many)
    stats = monitor.sdk_stats()
    assert stats["dropped_metrics"] > 0
    dropped = sum(stats["dropped_steps"].values())
    assert stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"] + dropped == 10
    line = capsys.readouterr().err.splitlines()[-1]
    assert ("no dead layers" in line) == (not dropped)


def test_the_closing_line_counts_sampled_steps():
    def line(**changes):
        return closing_line([], STATS | changes)

    assert line() == "healthy: p/r finished: no dead layers (20 of 100 steps sampled). URL"
    assert line(dropped_steps={"buffer_full": 2}, dropped_metrics=7) == (
        "healthy: p/r finished: no dead layers (20 of 100 steps sampled); 2 sampled steps not delivered. URL"
    )


def test_the_closing_line_never_reassures_about_what_was_not_analyzed():
    for changes in (
        {"acked_records": 0, "spooled_steps": 20},
        {"acked_records": 0},
        {"pending_steps": 1},
        {"spooled_steps": 1},
        {"dropped_steps": {"refused": 5}},
    ):
        line = closing_line([], STATS | changes)
        assert "no dead layers" not in line, line
        assert any(word in line for word in ("unknown", "nothing is known", "spooled on disk")), line
    assert "not analyzed yet" in closing_line([], STATS, mode="offline")
    unwatched = closing_line([], STATS, watching=Watching(state="unwatched", reason="eval_mode", last_step=40))
    assert unwatched.startswith("unwatched: p/r finished: not watched since step 40 (the model trains in eval mode")


@pytest.mark.parametrize("state", ["resolved", "firing"])  # the server may not know it yet, or no longer
def test_the_closing_line_says_of_a_time_without_watching_that_it_is_over(state):
    past = alert(
        kind="no_data", layer=None, layer_id=0, state=state, title="The training is not being watched", opened_step=40
    )
    assert closing_line([past], STATS) == (
        "healthy: p/r finished: the training was not being watched for a time (from step 40). URL"
    )


def test_the_closing_line_does_not_call_a_run_healthy_of_which_a_layer_is_not_observed():
    unseen = alert(kind="no_data", title="fc2 is no longer observed")
    assert closing_line([unseen], STATS) == (
        "unknown: p/r finished: fc2 is no longer observed (since step 4,410); "
        "the present state of fc2 is not known. URL"
    )


def test_the_closing_line_lists_alerts_above_info():
    alerts = [alert(), alert(severity="info", layer="fc3", layer_id=3)]
    assert closing_line(alerts, STATS) == "at risk: p/r finished: fc2 is dying (since step 4,410). URL"


def test_the_closing_line_of_a_healthy_run_names_what_is_only_worth_knowing():
    alerts = [alert(severity="info"), alert(severity="info", layer="fc3", layer_id=3, state="resolved")]
    assert closing_line(alerts, STATS) == (
        "healthy: p/r finished: no dead layers (20 of 100 steps sampled); info: fc2 is dying (since step 4,410). URL"
    )


def test_the_closing_line_begins_with_the_health_and_lists_five_layers_the_dead_ones_first():
    dying = [alert(id=f"d{n}", layer=f"fc{n}", layer_id=n, opened_step=n) for n in range(1, 8)]
    dead = [alert(id="x", layer="fc7", layer_id=7, kind="dead", severity="info", opened_step=900)]
    line = closing_line([*dying, *dead], STATS)
    assert line.startswith("damaged: p/r finished: fc7 is dead (since step 900), fc1 is dying")
    assert line.endswith("fc4 is dying (since step 4) and 2 more. URL")


@pytest.mark.parametrize("health", get_args(HealthStatus))
def test_the_closing_line_begins_with_each_word_of_health(health):
    ending = messages.Ending("p/r", "URL", "failed", Health(status=health, reason="why"), WATCHING)
    assert messages.finished(ending, [], STATS).startswith(f"{health.replace('_', ' ')}: p/r failed: ")


def test_the_start_line_names_what_is_not_observed():
    unseen = {"act": "scripted code", "gate": "another threshold"}
    line = messages.started(Coverage(watched=2, units=24, unseen=unseen), "p/r", "URL")
    assert line.startswith("2/2 ReLUs (not observed: act, gate; monitor.coverage() says why), 24 units")
    assert messages.started(Coverage(unseen=unseen), "p/r", "URL") == (
        "no activation of p/r can be observed: act (scripted code)"
    )
