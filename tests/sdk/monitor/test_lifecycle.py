"""How a run ends: closed, watched again, abandoned, or with the process; and what is left of it in memory."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

import relumine
from relumine._export.spool import frames
from relumine._runtime import open_runs
from relumine.schemas.upload import Upload
from tests.helpers.forked_python import TRAININGS
from tests.helpers.step_hooks import step_hooks


def build():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def train(model, optimizer, steps=12):
    for _ in range(steps):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def statuses(memory):
    """The final status of each run, by run id."""
    return {upload.run.id: upload.final_status for upload in memory.uploads}


def senders():
    return sum(thread.name == "relumine-sender" for thread in threading.enumerate())


def global_hooks():
    return len(nn.modules.module._global_forward_hooks) + len(nn.modules.module._global_forward_pre_hooks)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)  # another thread has to end
    assert condition()


@pytest.mark.parametrize("again", ["the model", "its compiled form", "a part of it", "a larger model", "in a list"])
def test_watching_a_model_again_ends_the_earlier_run_as_finished_and_says_so(again, memory, capsys):
    model, optimizer = build()
    threads = senders()
    first = relumine.watch(model, optimizer, name="first")
    train(model, optimizer)
    forms = {
        "the model": lambda: model,
        "its compiled form": lambda: torch.compile(model, backend="eager"),
        "a part of it": lambda: model[0],
        "a larger model": lambda: nn.Sequential(nn.Flatten(), model),
        "in a list": lambda: [nn.Linear(2, 2), model],
    }
    with relumine.watch(forms[again](), optimizer, name="second") as second:
        assert senders() == threads + 1
        assert step_hooks() == 1
        train(model, optimizer)
        assert (first.sdk_stats()["steps"], second.sdk_stats()["steps"]) == (12, 12)
    assert statuses(memory)[first.run_id] == "finished"
    assert capsys.readouterr().err.count("default/first: its model is watched again, so this run ends as finished") == 1
    assert (senders(), global_hooks()) == (threads, 0)


def test_monitors_of_different_models_leave_each_other_alone(memory, capsys):
    backbone = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    models = [nn.Sequential(backbone, nn.Linear(6, 2), nn.ReLU()) for _ in range(2)] + [build()[0]]
    monitors = []
    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitors.append((relumine.watch(model, optimizer, every=1), model, optimizer))
    for _, model, optimizer in monitors:
        train(model, optimizer, steps=5)
    assert [monitor.sdk_stats()["steps"] for monitor, _, _ in monitors] == [5, 5, 5]
    for monitor, _, _ in monitors:
        monitor.close()
    assert "watched again" not in capsys.readouterr().err
    assert global_hooks() == 0


@pytest.mark.parametrize("steps", [0, 2, 30])
def test_a_training_that_nobody_holds_is_collected_and_its_run_ends_as_finished(steps, memory, capsys):
    model, optimizer = build()
    threads = senders()
    monitor = relumine.watch(model, optimizer, every=1, name="gone", on_alert=model.get_submodule)
    train(model, optimizer, steps)
    references = [weakref.ref(thing) for thing in (model, optimizer, monitor, monitor._session)]
    run_id = monitor.run_id
    del model, optimizer, monitor
    gc.collect()
    assert [reference() for reference in references] == [None] * 4
    assert global_hooks() == 0
    wait_until(lambda: senders() == threads)
    assert statuses(memory) == ({run_id: "finished"} if steps else {})
    assert (
        "default/gone: its model, optimizer and monitor are gone, so the run ends as finished"
        in capsys.readouterr().err
    )


def test_a_training_that_an_interrupt_left_in_a_forward_is_collected_too(memory):
    model, optimizer = build()
    relumine.watch(model, optimizer, every=1)
    handle = model[2].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train(model, optimizer)
    handle.remove()
    reference = weakref.ref(model)
    del model, optimizer, handle
    gc.collect()
    assert reference() is None
    assert global_hooks() == 0
    for mode in _get_current_function_mode_stack():  # it observes nothing now, and nothing else in this test removes it
        mode.__exit__(None, None, None)


def test_a_closed_training_is_collected(memory):
    model, optimizer = build()
    monitor = relumine.watch(model, optimizer)
    train(model, optimizer)
    monitor.close()
    references = [weakref.ref(thing) for thing in (model, optimizer, monitor)]
    del model, optimizer, monitor
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    assert open_runs.all_open() == []


def test_a_monitor_that_is_not_kept_watches_as_long_as_the_optimizer_steps(memory):
    model, optimizer = build()
    relumine.watch(model, optimizer, every=1, run_id="kept")
    gc.collect()
    train(model, optimizer, steps=7)
    open_runs.all_open()[0].close()
    assert [record.step for record in memory.records("1")] == list(range(1, 8))


SCRIPT = """
import os, signal, sys, time
import torch
from torch import nn
import relumine

def train(model, optimizer):
    for _ in range(4):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()

def main():
    monitors = []
    for name in ("a", "b", "c"):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitors.append(relumine.watch(model, optimizer, mode="offline", run_id=name, every=1))
        train(model, optimizer)
    return monitors
"""


def run(script, tmp_path):
    """Run a script in a fork; return the process and the final status of each run."""
    process = TRAININGS.run(["-c", SCRIPT + script], cwd=tmp_path, env=variables())
    return process, final_statuses(tmp_path)


def variables():
    environment = {**os.environ, "PYTHONPATH": str(Path(relumine.__file__).resolve().parents[1])}
    environment.pop("RELUMINE_DIR", None)
    return environment


def final_statuses(directory):
    found = {}
    for path in directory.rglob("*.uploads"):
        for body in frames(path):
            upload = Upload.model_validate_json(body)
            found[upload.run.id] = upload.final_status or found.get(upload.run.id)
    return found


def test_sigterm_ends_every_run_as_failed_and_the_process_as_it_would_have(tmp_path):
    process, found = run("kept = main(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", tmp_path)
    assert process.returncode == -signal.SIGTERM, process.stderr
    assert found == {"a": "failed", "b": "failed", "c": "failed"}


def test_a_sigterm_handler_of_the_application_is_left_alone(tmp_path):
    script = """
signal.signal(signal.SIGTERM, lambda *_: print("saved"))
kept = main()
os.kill(os.getpid(), signal.SIGTERM)
kept[0].close()
"""
    process, found = run(script, tmp_path)
    assert (process.returncode, process.stdout) == (0, "saved\n"), process.stderr
    assert found == {"a": "finished", "b": "finished", "c": "finished"}


def test_a_handler_that_the_application_installs_later_can_call_the_earlier_one(tmp_path):
    script = """
kept = main()
earlier = signal.getsignal(signal.SIGTERM)
def save(number, frame):
    print("saved", flush=True)
    earlier(number, frame)
signal.signal(signal.SIGTERM, save)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""
    process, found = run(script, tmp_path)
    assert (process.returncode, process.stdout) == (-signal.SIGTERM, "saved\n"), process.stderr
    assert set(found.values()) == {"failed"}


@pytest.mark.parametrize(("end", "status"), [("kept = main()", "finished"), ("kept = main(); 1 / 0", "failed")])
def test_every_run_ends_with_the_interpreter(end, status, tmp_path):
    command = [sys.executable, "-c", SCRIPT + end]  # no fork: the end of the interpreter is what is tested
    subprocess.run(command, cwd=tmp_path, env=variables(), check=False, capture_output=True)
    assert final_statuses(tmp_path) == dict.fromkeys("abc", status)


def test_runs_that_were_never_held_end_as_finished(tmp_path):
    _, found = run("main()", tmp_path)
    assert found == dict.fromkeys("abc", "finished")


def test_sigterm_ends_runs_that_were_never_held_as_failed(tmp_path):
    process, found = run("main(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", tmp_path)
    assert process.returncode == -signal.SIGTERM, process.stderr
    assert set(found) == set("abc")
