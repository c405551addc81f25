"""Watch a training of Hugging Face's ``transformers.Trainer`` and of trainers built on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from relumine.integrations._watched import Watched
from relumine.monitor import Monitor
from relumine.views import Alert

try:
    from transformers import TrainerCallback
except ImportError as missing:
    raise ImportError(
        "relumine.integrations.transformers needs the Trainer: pip install transformers accelerate"
    ) from missing

KEPT = "relumine"  # not the class name: the Trainer would build a new callback from it, without ``on_alert``


class RelumineCallback(TrainerCallback):
    """Watches each ``train``: a run that is closed as finished or failed, with the losses that the Trainer logs.

    A checkpoint remembers the run, and ``train(resume_from_checkpoint=…)`` goes on with it. Only world process zero
    speaks.

    Args:
        on_alert: called with each alert, as by ``relumine.watch``. ``relumine.stop_training``, or whatever raises
            TrainingStopped, sets ``control.should_training_stop``, on several processes at the next ``logging_steps``.
        options: what ``relumine.watch`` takes beside model and optimizer.

    Raises:
        TypeError: for an option that ``relumine.watch`` does not know.

    Example:
        >>> from relumine.integrations.transformers import RelumineCallback
        >>> # Trainer(..., callbacks=[RelumineCallback(project="digits", name="baseline")])
    """

    def __init__(self, *, on_alert: Callable[[Alert], object] | None = None, **options: Any) -> None:
        self._watched = Watched(on_alert, options)

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the latest ``train``; on other processes than zero one that does nothing, None before it."""
        return self._watched.monitor

    def on_train_begin(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """Optimizer and checkpoint are in place: begin, or go on with the run of the checkpoint."""
        del args, control
        monitor = self._watched.begin(
            told["model"],
            told["optimizer"],
            speaks=state.is_world_process_zero,
            run_id=state.stateful_callbacks.get(KEPT, {}).get("run_id"),
            start_step=state.global_step,
        )
        if state.is_world_process_zero:
            state.stateful_callbacks[KEPT] = {"run_id": monitor.run_id}

    def on_step_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """Stop where an alert asked for it."""
        del told
        if args.world_size == 1 or state.global_step % max(1, state.logging_steps) == 0:
            self._stop_together(args, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """Stop where an alert asked for it, also in epochs that are shorter than ``logging_steps``."""
        del state, told
        self._stop_together(args, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **told: Any) -> None:
        """Log the loss: the mean since the Trainer last logged one."""
        del args, control, told
        if self.monitor is not None and logs and "loss" in logs:
            self.monitor.log(loss=float(logs["loss"]), step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """The training came to its end."""
        del args, state, control, told
        self._watched.end("finished")

    def _stop_together(self, args: Any, control: Any) -> None:
        """Every process stops at the same step. A collective, so only where ``on_alert`` might ask for it."""
        asked = self._watched.stop_asked
        if self._watched.can_stop and args.world_size > 1:
            votes = torch.tensor(int(asked), device=args.device)
            torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
            asked = bool(votes)
        control.should_training_stop = control.should_training_stop or asked
