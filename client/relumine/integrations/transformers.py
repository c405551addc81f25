"""The callback for Hugging Face's ``transformers.Trainer`` and trainers built on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from relumine._monitor.monitor import Monitor
from relumine.integrations._callback import RunLifecycle
from relumine.schemas.alert import Alert

try:
    from transformers import TrainerCallback
except ImportError as missing:
    raise ImportError(
        "relumine.integrations.transformers needs the Trainer: pip install transformers accelerate"
    ) from missing

# The key of the run in a checkpoint. Not the class name: the Trainer would build a new callback from that, without
# ``on_alert``.
STATE_KEY = "relumine"


class RelumineCallback(TrainerCallback):
    """A callback that watches each ``train`` as a run, with the losses that the Trainer logs.

    A checkpoint remembers its run, and ``train(resume_from_checkpoint=…)`` continues it. Only world process zero is
    watched.

    Args:
        on_alert: called with each alert, as by ``relumine.watch``. ``relumine.stop_training``, or any callback that
            raises TrainingStopped, sets ``control.should_training_stop``, with several processes at the next
            ``logging_steps``.
        options: the arguments of ``relumine.watch`` beside model and optimizer.

    Raises:
        TypeError: for an option that ``relumine.watch`` does not know.

    Example:
        >>> from relumine.integrations.transformers import RelumineCallback
        >>> # Trainer(..., callbacks=[RelumineCallback(project="digits", name="baseline")])
    """

    def __init__(self, *, on_alert: Callable[[Alert], object] | None = None, **options: Any) -> None:
        self._lifecycle = RunLifecycle(on_alert, options)

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the latest ``train``, in other processes than zero one that does nothing; None before."""
        return self._lifecycle.monitor

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start a run, or continue that of the checkpoint; optimizer and checkpoint are loaded by now."""
        del args, control
        monitor = self._lifecycle.start(
            kwargs["model"],
            kwargs["optimizer"],
            is_main_process=state.is_world_process_zero,
            run_id=state.stateful_callbacks.get(STATE_KEY, {}).get("run_id"),
            start_step=state.global_step,
        )
        if state.is_world_process_zero:
            state.stateful_callbacks[STATE_KEY] = {"run_id": monitor.run_id}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if an alert requested it."""
        del kwargs
        if args.world_size == 1 or state.global_step % max(1, state.logging_steps) == 0:
            self._stop_together(args, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if an alert requested it, also in epochs that are shorter than ``logging_steps``."""
        del state, kwargs
        self._stop_together(args, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Log the loss: the mean since the Trainer last logged one."""
        del args, control, kwargs
        if self.monitor is not None and logs and "loss" in logs:
            self.monitor.log(loss=float(logs["loss"]), step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the run as finished."""
        del args, state, control, kwargs
        self._lifecycle.finish("finished")

    def _stop_together(self, args: Any, control: Any) -> None:
        """Stop every process at the same step. A collective, so only if there is an ``on_alert`` to request it."""
        is_requested = self._lifecycle.stop_requested
        if self._lifecycle.can_stop and args.world_size > 1:
            votes = torch.tensor(int(is_requested), device=args.device)
            torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
            is_requested = bool(votes)
        control.should_training_stop = control.should_training_stop or is_requested
