"""A Trainer's training on one of two processes, for test_transformers.py. Prints what it uploaded, its last step."""

from __future__ import annotations

import json
import sys
import warnings

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

import relumine
from relumine.integrations.transformers import RelumineCallback
from tests.helpers.alarming_transport import STEPS, AlarmingTransport
from tests.helpers.distributed import exit_together


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return {"loss": self.net(x).square().mean()}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    args = TrainingArguments(
        sys.argv[1], use_cpu=True, max_steps=STEPS, logging_steps=3, save_strategy="no", report_to=[], disable_tqdm=True
    )
    callback = RelumineCallback(every=1, strict=True, on_alert=relumine.stop_training)
    data = [{"x": x} for x in torch.randn(400, 4)]
    with AlarmingTransport() as transport:
        trainer = Trainer(Net(), args, train_dataset=data, callbacks=[callback])
        trainer.train()
    result = {"uploads": len(transport.uploads), "step": trainer.state.global_step, "rank": args.process_index}
    result["names"] = sorted({layer.name for upload in transport.uploads for layer in upload.layers})
    sys.stderr.write(f"\nRESULT {json.dumps(result)}\n")
    exit_together(f"{sys.argv[1]}/both", args.process_index)


main()
