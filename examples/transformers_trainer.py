"""Hugging Face Trainer: one callback, on a small BERT with ReLUs and random weights. Nothing is downloaded.

relumine-server serve                                 # in another terminal
python examples/transformers_trainer.py [--dying]     # --dying: the learning rate is 50 times too high
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from relumine.integrations.transformers import RelumineCallback


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Random words, labeled by whether word 1 is among them."""

    def __init__(self, count: int, words: int) -> None:
        self.ids = torch.randint(2, 32, (count, words))
        self.labels = torch.randint(0, 2, (count,))
        self.ids[self.labels == 1, 3] = 1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


def main(*, dying: bool) -> None:
    """Train a sentence classifier."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_act="relu",
    )
    callback = RelumineCallback(project="examples", name="transformers-dying" if dying else "transformers")
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder,
            learning_rate=0.05 if dying else 0.001,
            per_device_train_batch_size=32,
            max_steps=300,
            logging_steps=10,  # the interval at which callbacks receive the loss
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(
            BertForSequenceClassification(config),
            options,
            train_dataset=Sentences(2_000, words=8),
            callbacks=[callback],
        ).train()
    if callback.monitor is not None:
        for alert in callback.monitor.alerts():
            print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
