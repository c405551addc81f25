"""Other tools attached to a training, active on every step: wandb.watch, TensorBoard histograms, a naive hook."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

AfterStep = Callable[[int], None]
"""Called with the step's number after every step."""


def check_installed() -> None:
    """Exit with a message if a package that is compared is missing."""
    missing = [package for package in ("wandb", "tensorboard") if find_spec(package) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; pip install '.[dev]', or measure --without-others")


def attach(name: str, model: nn.Module, folder: Path) -> AfterStep:
    """Attach the tool of this name to a model, with its files in ``folder``."""
    return TOOLS[name](model, folder)


def _attach_wandb(model: nn.Module, folder: Path, *, log: Literal["gradients", "all"]) -> AfterStep:
    os.environ |= {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "WANDB_DISABLE_GIT": "true"}
    logging.getLogger("wandb").setLevel(logging.ERROR)
    import wandb  # noqa: PLC0415 - an optional package

    settings = wandb.Settings(silent=True, x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(mode="offline", dir=str(folder), reinit="return_previous", settings=settings)
    run.watch(model, log=log, log_freq=1)
    return lambda step: run.log({"step": step})  # without a call of log, wandb never sends what it watched


def _attach_tensorboard(model: nn.Module, folder: Path) -> AfterStep:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional package

    writer = SummaryWriter(str(folder))
    activations: dict[str, Tensor] = {}

    def keep_output(_module: nn.Module, _inputs: Any, output: Tensor, *, path: str) -> None:
        activations[path] = output.detach()

    for path, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(partial(keep_output, path=path))

    def add_histograms(step: int) -> None:
        for name, value in (*activations.items(), *model.named_parameters()):
            writer.add_histogram(name, value, step)

    return add_histograms


def _attach_naive_hook(model: nn.Module, _folder: Path) -> AfterStep:
    """Attach the hook of many blog posts: the share of zeros of each ReLU, with ``.item()``."""

    def count_zeros(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        (output == 0).float().mean().item()

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(count_zeros)
    return lambda _step: None


TOOLS: dict[str, Callable[[nn.Module, Path], AfterStep]] = {
    "naive": _attach_naive_hook,
    "wandb gradients": partial(_attach_wandb, log="gradients"),
    "wandb all": partial(_attach_wandb, log="all"),
    "tensorboard": _attach_tensorboard,
}
