"""The Trainer callback, under the real Trainer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import relumine
from tests.helpers.alarming_transport import STEPS
from tests.helpers.distributed import environment
from tests.helpers.forked_python import TRAININGS
from tests.helpers.lazy_import import LazyModule

HERE = Path(__file__).parent
IMPORTED = ["transformers.trainer", "accelerate"]
accelerate = LazyModule("accelerate")
transformers = LazyModule("transformers")
integration = LazyModule("relumine.integrations.transformers")
pytestmark = [
    pytest.mark.xdist_group("frameworks"),  # one worker imports them
    pytest.mark.filterwarnings("ignore"),  # the Trainer's own hints
]


class Net(nn.Module):
    """A regression; its losses are kept in the order of the batches."""

    def __init__(self, breaks_at=None):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
        self.losses, self.breaks_at = [], breaks_at

    def forward(self, x):
        loss = (self.net(x) - x[:, :1]).square().mean()
        self.losses.append(loss.item())
        if len(self.losses) == self.breaks_at:
            raise ZeroDivisionError
        return {"loss": loss}


def trainer(folder, *callbacks, net=None, **options):
    torch.manual_seed(5)
    data = [{"x": x} for x in torch.randn(96, 6)]
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no"}
    chosen = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "logging_steps": 1, **quiet, **options}
    args = transformers.TrainingArguments(str(folder), learning_rate=0.01, **chosen)
    return transformers.Trainer(net or Net(), args, train_dataset=data, callbacks=list(callbacks))


def test_a_training_is_a_run_with_its_losses_and_its_final_status(memory, summarize, tmp_path):
    callback, net = integration.RelumineCallback(project="digits", every=1, strict=True), Net()
    trainer(tmp_path, callback, net=net).train()
    run = summarize(memory)[callback.monitor.run_id]
    assert run["steps"] == list(range(1, 13))
    assert list(run["losses"]) == run["steps"]
    assert list(run["losses"].values()) == pytest.approx(net.losses, abs=1e-4)
    assert run["final_status"] == ["finished"]
    assert list(callback.monitor.coverage()) == ["net.1"]
    assert memory.uploads[0].run.project == "digits"
    assert not nn.modules.module._global_forward_hooks


def test_no_number_of_the_training_changes(memory, tmp_path):
    bare, watched = Net(), Net()
    trainer(tmp_path, net=bare).train()
    trainer(tmp_path, integration.RelumineCallback(every=1, strict=True), net=watched).train()
    assert watched.losses == bare.losses
    assert all(torch.equal(a, b) for a, b in zip(bare.parameters(), watched.parameters(), strict=True))


def test_micro_batches_of_one_step_make_one_record_and_one_loss(memory, summarize, tmp_path):
    net = Net()
    callback = integration.RelumineCallback(every=1, strict=True)
    trainer(tmp_path, callback, net=net, gradient_accumulation_steps=4).train()
    (run,) = summarize(memory).values()
    assert run["steps"] == [1, 2, 3]
    assert {record.n_examples for record in memory.records("net.1")} == {32}
    assert list(run["losses"].values()) == pytest.approx([sum(net.losses[i : i + 4]) / 4 for i in (0, 4, 8)], abs=1e-4)


def test_a_training_that_broke_is_closed_as_failed_when_the_next_starts(memory, summarize, tmp_path):
    callback = integration.RelumineCallback(every=1, strict=True)
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, callback, net=Net(breaks_at=6)).train()
    trainer(tmp_path, callback).train()
    assert [run["final_status"] for run in summarize(memory).values()] == [["failed"], ["finished"]]


def test_a_training_that_broke_is_closed_as_failed_when_the_process_ends(tmp_path):
    code = (
        "import contextlib, pathlib\n"
        "from tests.integrations.test_transformers import *; from relumine.testing import InMemoryTransport\n"
        "memory = InMemoryTransport().__enter__()\n"
        "import atexit; atexit.register(lambda: print([u.final_status for u in memory.uploads if u.final_status]))\n"
        "with contextlib.suppress(ZeroDivisionError):\n"
        "    trainer(pathlib.Path('.'), integration.RelumineCallback(every=1), net=Net(breaks_at=6)).train()"
    )
    (tmp_path / "breaks.py").write_text(code)
    process = TRAININGS.run([tmp_path / "breaks.py"], also=IMPORTED, env=environment())
    assert process.stdout.splitlines()[-1:] == ["['failed']"], process.stderr


@pytest.mark.parametrize("restores", [False, True])
def test_a_checkpoint_continues_its_run_at_its_step_with_the_callbacks_options(restores, alarming, summarize, tmp_path):
    class Flush(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            second.monitor.flush()

    alerts = []
    first = integration.RelumineCallback(every=1, strict=True)
    trainer(tmp_path, first, save_strategy="epoch").train()
    second = integration.RelumineCallback(every=1, strict=True, on_alert=alerts.append)
    options = {"num_train_epochs": 2, "restore_callback_states_from_checkpoint": restores}
    trainer(tmp_path, second, Flush(), **options).train(resume_from_checkpoint=True)
    assert second.monitor.run_id == first.monitor.run_id
    assert [alert.kind for alert in alerts] == ["dead"]
    (run,) = summarize(alarming).values()
    assert run["steps"] == list(range(1, 25))
    assert list(run["losses"]) == run["steps"]
    assert len(run["sessions"]) == 2


def test_another_training_with_the_same_callback_is_another_run(memory, summarize, tmp_path):
    callback = integration.RelumineCallback(every=1, strict=True)
    training = trainer(tmp_path, callback)
    training.train()
    training.train()
    assert [run["steps"] for run in summarize(memory).values()] == [list(range(1, 13))] * 2


def test_an_alert_reaches_the_callback_and_the_trainer_stops_the_training(alarming, summarize, tmp_path):
    alerts = []

    def on_alert(alert):
        alerts.append(alert.kind)
        relumine.stop_training(alert)

    callback = integration.RelumineCallback(every=1, strict=True, on_alert=on_alert)
    training = trainer(tmp_path, callback, max_steps=STEPS)
    training.train()
    assert alerts == ["dead"]
    assert training.control.should_training_stop
    assert training.state.global_step < STEPS
    assert [run["final_status"] for run in summarize(alarming).values()] == [["failed"]]


def test_with_two_processes_zero_uploads_and_both_stop_at_the_same_step(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = environment(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2")
    workers = [
        TRAININGS.start(
            [HERE / "transformers_worker.py", tmp_path],
            also=IMPORTED,
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    errors = [worker.communicate(timeout=250)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    rank_zero, rank_one = (json.loads(error.split("RESULT")[1]) for error in errors)
    assert (rank_zero["rank"], rank_zero["names"]) == (0, ["net.1"])
    assert (rank_one["rank"], rank_one["uploads"]) == (1, 0)
    assert rank_zero["step"] == rank_one["step"] < STEPS


def test_an_optimizer_prepared_by_accelerate_is_watched_in_a_training_loop(memory):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    model, optimizer = accelerator.prepare(model, torch.optim.Adam(model.parameters()))
    treat = relumine.remedies.apply(model, optimizer)
    with relumine.watch(model, optimizer, every=1, strict=True, on_alert=treat):
        for _ in range(10):
            with accelerator.accumulate(model):
                accelerator.backward(model(torch.randn(8, 4)).square().mean())
                optimizer.step()
                optimizer.zero_grad()
    assert [(record.step, record.n_examples) for record in memory.records("1")] == [(step, 16) for step in range(1, 6)]


def test_an_unknown_option_is_refused_before_anything_is_trained():
    with pytest.raises(TypeError, match="evry"):
        integration.RelumineCallback(evry=1)


def test_without_transformers_the_error_says_what_to_install():
    code = "import sys; sys.modules['transformers'] = None\nimport relumine.integrations.transformers"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs the Trainer: pip install transformers accelerate" in process.stderr.splitlines()[-1]
