"""What docs/integrations/loggers.md shows of other loggers is run as it stands there, with the real packages."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from tests.helpers.forked_python import TRAININGS

ROOT = Path(__file__).resolve().parents[2]
LOOP = """
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine.testing import InMemoryTransport


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.c(functional.relu(self.b(functional.relu(self.a(x)))))


model, steps = Net(), 5
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
memory = InMemoryTransport().__enter__()
monitor = relumine.watch(model, optimizer, every=1, strict=True)


def train_one_step():
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    monitor.flush()
"""
LIGHTNING = """
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from relumine.integrations.lightning import RelumineCallback
from relumine.testing import InMemoryTransport


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, batch, _index):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def on_train_batch_start(self, *_):
        relumine_callback.monitor.flush()


relumine_callback = RelumineCallback(every=1, strict=True)
"""
FIT = """
with InMemoryTransport():
    callbacks = [relumine_callback, Metrics()]
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=CSVLogger("."), log_every_n_steps=2, callbacks=callbacks)
    trainer.fit(Net(), torch.utils.data.DataLoader(torch.randn(48, 4), batch_size=8))
"""
NAMES = [
    f"relumine/{layer}/{what}"
    for layer in ("relu", "relu#2")
    for what in ("active_rate", "silent_fraction", "dead_fraction", "born_dead_fraction")
]


def run(first_line, folder, before=LOOP, after="", modules=()):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/integrations/loggers.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(f"# {first_line}")]
    script = folder / "script.py"
    script.write_text(before + block + after)
    quiet = {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    environment = {**os.environ, **quiet, "RELUMINE_DIR": str(folder / "relumine"), "OMP_NUM_THREADS": "1"}
    result = TRAININGS.run([script], also=modules, cwd=folder, env=environment)
    assert result.returncode == 0, result.stderr


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("TensorBoard", tmp_path)
    accumulator = EventAccumulator(str(tmp_path / "runs/digits"))
    accumulator.Reload()
    assert sorted(accumulator.Tags()["scalars"]) == sorted(NAMES)
    assert [event.step for event in accumulator.Scalars(NAMES[0])] == [0, 1, 2, 3, 4]
    assert 0 < accumulator.Scalars(NAMES[0])[-1].value < 1


def test_weights_and_biases(tmp_path):
    run("Weights & Biases", tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert all(file.read_bytes().count(name.encode()) >= 5 for name in NAMES)


def test_mlflow(tmp_path):
    run("MLflow", tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        counts = connection.execute("SELECT key, count(*) FROM metrics GROUP BY key").fetchall()
    assert sorted(counts) == sorted((name.replace("#", ":"), 5) for name in NAMES)


def test_lightnings_own_logger(tmp_path):
    run("Lightning", tmp_path, LIGHTNING, FIT, modules=["lightning.pytorch"])
    (file,) = tmp_path.glob("lightning_logs/version_0/metrics.csv")
    rows = file.read_text().splitlines()
    assert "relumine/net.1/dead_fraction" in rows[0]
    assert len(rows) == 4
