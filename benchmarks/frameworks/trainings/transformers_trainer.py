"""Hugging Face Transformers: its Trainer, which calls its models by keyword, and evaluates between steps."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import (
    OPTConfig,
    OPTForCausalLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.frameworks.made_up import STEPS
from benchmarks.frameworks.training import Observe, Trained

TOKENS = 64
LENGTH = 12


class _Observer(TrainerCallback):
    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, **parts: Any) -> None:
        self._observe(parts["model"], parts["optimizer"])


def train_opt(observe: Observe) -> Trained:
    """Train a small OPT, which has ReLUs, on made-up sequences."""
    return _train(_opt(), Trainer, TrainingArguments, observe)


def train_checkpointed(observe: Observe) -> Trained:
    """Train the OPT with activation checkpointing: its backward runs the forward again."""
    return _train(_opt(), Trainer, TrainingArguments, observe, gradient_checkpointing=True)


def _opt() -> Any:
    config = OPTConfig(
        vocab_size=TOKENS,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
    )
    return OPTForCausalLM(config)


def train_t5(observe: Observe) -> Trained:
    """Train a small T5, which has ReLUs in encoder and decoder, on made-up pairs of sequences."""
    config = T5Config(
        vocab_size=TOKENS, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    return _train(T5ForConditionalGeneration(config), Seq2SeqTrainer, Seq2SeqTrainingArguments, observe)


def _train(model: Any, trainer_type: Any, arguments_type: Any, observe: Observe, **options: Any) -> Trained:
    sequences = torch.randint(2, TOKENS, (32, LENGTH))
    data = [{"input_ids": sequence, "labels": sequence} for sequence in sequences]
    with tempfile.TemporaryDirectory(prefix="relumine-frameworks-") as folder:
        arguments = arguments_type(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            use_cpu=True,
            report_to="none",
            logging_steps=1,
            save_strategy="no",
            eval_strategy="steps",
            eval_steps=10,
            disable_tqdm=True,
            **options,
        )
        trainer = trainer_type(
            model, arguments, train_dataset=data, eval_dataset=data[:8], callbacks=[_Observer(observe)]
        )
        trainer.train()
    history = trainer.state.log_history
    losses = [entry[key] for entry in history for key in ("loss", "eval_loss") if key in entry]
    return Trained(model, losses, trainer.state.global_step)
