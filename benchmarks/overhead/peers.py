"""What others attach to a training step, each on every step: wandb.watch, TensorBoard histograms, a naive hook."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

AfterStep = Callable[[int], None]


def attach(name: str, model: nn.Module, folder: Path) -> AfterStep:
    """Attach a peer to a model; what is returned is called after every step."""
    return {"wandb all": _wandb_all, "wandb gradients": _wandb_gradients, "tensorboard": _tensorboard, "naive": _naive}[
        name
    ](model, folder)


PEERS = ("naive", "wandb gradients", "wandb all", "tensorboard")


def _wandb(model: nn.Module, folder: Path, log: str) -> AfterStep:
    os.environ |= {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "WANDB_DISABLE_GIT": "true"}
    logging.getLogger("wandb").setLevel(logging.ERROR)
    import wandb  # noqa: PLC0415 - an optional peer

    settings = wandb.Settings(silent=True, x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(mode="offline", dir=str(folder), reinit="return_previous", settings=settings)
    run.watch(model, log=log, log_freq=1)  # type: ignore[arg-type]
    return lambda step: run.log({"step": step})  # without it wandb never sends what it watched


def _wandb_all(model: nn.Module, folder: Path) -> AfterStep:
    return _wandb(model, folder, "all")


def _wandb_gradients(model: nn.Module, folder: Path) -> AfterStep:
    return _wandb(model, folder, "gradients")


def _tensorboard(model: nn.Module, folder: Path) -> AfterStep:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional peer

    writer = SummaryWriter(str(folder))
    seen: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _m, _i, y, path=path: seen.__setitem__(path, y.detach()))

    def after(step: int) -> None:
        for name, value in (*seen.items(), *model.named_parameters()):
            writer.add_histogram(name, value, step)

    return after


def _naive(model: nn.Module, _folder: Path) -> AfterStep:
    """The hook of every blog post: the share of zeros of each ReLU, with ``.item()``."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _m, _i, y: (y == 0).float().mean().item() and None)
    return lambda _step: None
