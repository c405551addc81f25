"""The Lightning callback, under the real trainers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import relumine
from relumine.alert_actions import RemedyResult
from tests.helpers.alarming_transport import STEPS
from tests.helpers.distributed import environment
from tests.helpers.forked_python import TRAININGS
from tests.helpers.lazy_import import LazyModule

HERE = Path(__file__).parent
lightning = LazyModule("lightning.pytorch")
pytorch_lightning = LazyModule("pytorch_lightning")
integration = LazyModule("relumine.integrations.lightning")
pytestmark = [
    pytest.mark.xdist_group("frameworks"),  # one worker imports them
    pytest.mark.filterwarnings("ignore"),  # Lightning's own hints: few workers, no logger, no validation
]
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def batches(count=12, size=8):
    torch.manual_seed(5)
    return torch.utils.data.DataLoader(torch.randn(count * size, 6), batch_size=size)


def module(package=lightning, learning_rate=0.05):
    """A regression; its losses are kept in the order of the batches."""

    class Net(package.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
            self.losses = []

        def training_step(self, batch, _index):
            loss = (self.net(batch) - batch[:, :1]).square().mean()
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch, _index):
            self.net(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=learning_rate)

    return Net()


def fit(net, callback=None, package=lightning, ckpt_path=None, **options):
    options = {"max_epochs": 1, "enable_checkpointing": False, **QUIET, **options}
    trainer = package.Trainer(callbacks=[callback] if callback else [], **options)
    trainer.fit(net, batches(), batches(2), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("package", [lightning, pytorch_lightning], ids=["lightning", "pytorch_lightning"])
def test_a_fit_is_a_run_with_its_losses_and_its_final_status(package, memory, summarize):
    net = module(package)
    callback = integration.RelumineCallback(project="digits", every=1, strict=True)
    fit(net, callback, package)
    run = summarize(memory)[callback.monitor.run_id]
    assert run["steps"] == list(range(1, 13))
    assert list(run["losses"]) == run["steps"]
    assert list(run["losses"].values()) == pytest.approx(net.losses)
    assert run["final_status"] == ["finished"]
    assert list(callback.monitor.coverage()) == ["net.1"]
    assert memory.uploads[0].run.project == "digits"
    assert not nn.modules.module._global_forward_hooks


def test_no_number_of_the_training_changes(memory):
    bare, watched = module(), module()
    fit(bare)
    fit(watched, integration.RelumineCallback(every=1, strict=True))
    assert watched.losses == bare.losses
    assert all(torch.equal(a, b) for a, b in zip(bare.parameters(), watched.parameters(), strict=True))


def test_micro_batches_of_one_step_make_one_record_and_one_loss(memory, summarize):
    net = module()
    fit(net, integration.RelumineCallback(every=1, strict=True), accumulate_grad_batches=4)
    (run,) = summarize(memory).values()
    assert run["steps"] == [1, 2, 3]
    assert {record.n_examples for record in memory.records("net.1")} == {32}
    assert list(run["losses"].values()) == pytest.approx([sum(net.losses[i : i + 4]) / 4 for i in (0, 4, 8)])


def test_an_exception_ends_the_run_as_failed(memory, summarize):
    class Breaks(lightning.Callback):
        def on_train_batch_end(self, *_):
            if _[-1] == 5:
                raise ZeroDivisionError

    callback = integration.RelumineCallback(every=1, strict=True)
    trainer = lightning.Trainer(callbacks=[callback, Breaks()], enable_checkpointing=False, max_epochs=1, **QUIET)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(module(), batches())
    assert summarize(memory)[callback.monitor.run_id]["final_status"] == ["failed"]


def test_a_checkpoint_continues_its_run_at_its_step(memory, summarize, tmp_path):
    first = integration.RelumineCallback(every=1, strict=True)
    fit(module(), first).save_checkpoint(tmp_path / "last.ckpt")
    second = integration.RelumineCallback(every=1, strict=True)
    fit(module(), second, ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    assert second.monitor.run_id == first.monitor.run_id
    (run,) = summarize(memory).values()
    assert run["steps"] == list(range(1, 25))
    assert list(run["losses"]) == run["steps"]
    assert len(run["sessions"]) == 2


def test_a_run_id_of_the_user_takes_precedence_over_that_of_the_checkpoint(memory, summarize, tmp_path):
    fit(module(), integration.RelumineCallback(every=1, strict=True)).save_checkpoint(tmp_path / "last.ckpt")
    fit(module(), integration.RelumineCallback(every=1, run_id="fork"), ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    assert summarize(memory)["fork"]["steps"] == list(range(13, 25))


def test_another_fit_with_the_same_callback_is_another_run(memory, summarize):
    callback = integration.RelumineCallback(every=1, strict=True)
    for _fold in range(2):
        fit(module(), callback)
    assert [run["steps"] for run in summarize(memory).values()] == [list(range(1, 13))] * 2


def test_several_optimizers_stepped_by_hand_make_one_step_per_round(memory, summarize):
    class Gan(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.a, self.b = (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)) for _ in range(2))

        def training_step(self, batch, _index):
            for net, optimizer in zip((self.a, self.b), self.optimizers(), strict=True):
                loss = net(batch).square().mean()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return {"loss": loss}

        def configure_optimizers(self):
            return [torch.optim.SGD(net.parameters(), lr=0.01) for net in (self.a, self.b)]

    callback = integration.RelumineCallback(every=1, strict=True)
    trainer = fit(Gan(), callback)
    assert trainer.global_step == 24
    assert callback.state_dict() == {"run_id": callback.monitor.run_id, "step": 12}
    assert len(summarize(memory)[callback.monitor.run_id]["losses"]) == 12


def test_optimizers_as_lightning_wraps_them_are_watched_without_the_callback(memory):
    class Net(type(module())):
        def on_train_start(self):
            self.monitor = relumine.watch(self, self.optimizers(), every=1, strict=True)

        def on_train_end(self):
            self.monitor.close()

    fit(Net())
    assert [record.step for record in memory.records("net.1")] == list(range(1, 13))


def test_an_alert_reaches_the_callback_and_lightning_stops_the_training(alarming, summarize):
    alerts = []

    def on_alert(alert):
        alerts.append(alert.kind)
        relumine.stop_training(alert)

    epochs = STEPS // len(batches())
    trainer = fit(module(), integration.RelumineCallback(every=1, strict=True, on_alert=on_alert), max_epochs=epochs)
    assert alerts == ["dead"]
    assert trainer.should_stop
    assert trainer.state.finished
    assert trainer.current_epoch < epochs - 1
    assert [run["final_status"] for run in summarize(alarming).values()] == [["failed"]]


def test_a_remedy_applied_by_on_alert_is_reported_to_the_server(alarming):
    class Flush(lightning.Callback):
        def on_train_batch_start(self, *_):
            callback.monitor.flush()

    lowered = RemedyResult("lower_learning_rate", 0.01, "lower", ())
    callback = integration.RelumineCallback(every=1, strict=True, on_alert=lambda _alert: lowered)
    trainer = lightning.Trainer(callbacks=[callback, Flush()], enable_checkpointing=False, max_epochs=1, **QUIET)
    trainer.fit(module(), batches())
    metrics = [metric for upload in alarming.uploads for metric in upload.metrics]
    assert [metric.value for metric in metrics if metric.name == "remedy/a/lower_learning_rate"] == [0.01]


def test_with_two_processes_rank_zero_uploads_and_both_stop_at_the_same_step(tmp_path):
    command = [HERE / "lightning_worker.py", tmp_path / "result"]  # it starts the other process itself
    process = TRAININGS.run(command, also=["lightning.pytorch"], env=environment())
    assert process.returncode == 0, process.stderr
    rank_zero, rank_one = (json.loads((tmp_path / f"result.{rank}").read_text()) for rank in (0, 1))
    assert (rank_zero["names"], rank_one["uploads"]) == (["net.1"], 0)
    assert rank_zero["end"]
    assert rank_zero["step"] == rank_one["step"]


def test_an_unknown_option_is_refused_before_anything_is_trained():
    with pytest.raises(TypeError, match="evry"):
        integration.RelumineCallback(evry=1)


def test_without_lightning_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['lightning', 'pytorch_lightning']))\n"
        "import relumine.integrations.lightning"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "relumine.integrations.lightning needs Lightning: pip install lightning" in process.stderr.splitlines()[-1]
