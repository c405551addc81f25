"""A Lightning training on two processes, for test_lightning.py. Writes what this rank uploaded and its last step."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

import relumine
from relumine.integrations.lightning import RelumineCallback
from tests.helpers.alarming_transport import STEPS, AlarmingTransport
from tests.helpers.distributed import exit_together


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def training_step(self, batch, _index):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    callback = RelumineCallback(every=1, strict=True, on_alert=relumine.stop_training)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        max_steps=STEPS,
        max_epochs=-1,
        log_every_n_steps=3,
        callbacks=[callback],
        **quiet,
    )
    with AlarmingTransport() as transport:
        trainer.fit(Net(), torch.utils.data.DataLoader(torch.randn(40, 4), batch_size=4))
    result = {"uploads": len(transport.uploads), "step": trainer.global_step, "end": trainer.global_step < STEPS}
    result["names"] = sorted({layer.name for upload in transport.uploads for layer in upload.layers})
    Path(f"{sys.argv[1]}.{os.environ.get('LOCAL_RANK', '0')}").write_text(json.dumps(result))
    exit_together(sys.argv[1], int(os.environ.get("LOCAL_RANK", "0")))


main()
