"""The callback for PyTorch Lightning, from ``lightning`` or ``pytorch_lightning``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from relumine._monitor.monitor import Monitor
from relumine.integrations._callback import RunLifecycle
from relumine.schemas.alert import Alert

try:
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        from pytorch_lightning import Callback
    else:
        from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as missing:
        raise ImportError("relumine.integrations.lightning needs Lightning: pip install lightning") from missing


class RelumineCallback(Callback):
    """A callback that watches each ``fit`` as a run, with the loss of every optimizer step.

    A checkpoint remembers its run, and ``fit(ckpt_path=…)`` continues it. Only global rank zero is watched.

    Args:
        on_alert: called with each alert, as by ``relumine.watch``. ``relumine.stop_training``, or any callback that
            raises TrainingStopped, sets ``trainer.should_stop``, with several processes at the next
            ``log_every_n_steps``.
        options: the arguments of ``relumine.watch`` beside model and optimizer.

    Raises:
        TypeError: for an option that ``relumine.watch`` does not know.

    Example:
        >>> from relumine.integrations.lightning import RelumineCallback
        >>> # Trainer(callbacks=[RelumineCallback(project="digits", name="baseline")])
    """

    def __init__(self, *, on_alert: Callable[[Alert], object] | None = None, **options: Any) -> None:
        self._lifecycle = RunLifecycle(on_alert, options)
        self._position: dict[str, Any] = {}
        self._steps = 0

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the latest ``fit``, on other ranks than zero one that does nothing; None before the first."""
        return self._lifecycle.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a run, or continue that of the checkpoint; optimizers and checkpoint are loaded by now."""
        self._steps = trainer.global_step
        position = self._position if self._steps else {}
        self._lifecycle.start(
            pl_module,
            trainer.optimizers,
            is_main_process=trainer.is_global_zero,
            run_id=position.get("run_id"),
            start_step=position.get("step", self._steps),
        )

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Tensor | Mapping[str, Any] | None, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss if an optimizer stepped; stop if an alert requested it."""
        del pl_module, batch
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._lifecycle.add_loss(loss)
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._lifecycle.log_loss(factor=trainer.accumulate_grad_batches)
        if trainer.world_size == 1 or (batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0:
            self._stop_together(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop if an alert requested it, also in epochs that are shorter than ``log_every_n_steps``."""
        del pl_module
        self._stop_together(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run as finished."""
        del trainer, pl_module
        self._position = self.state_dict()
        self._lifecycle.finish("finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run as failed."""
        del trainer, pl_module, exception
        self._lifecycle.finish("failed")

    def state_dict(self) -> dict[str, Any]:
        """Return the run and its step, for the checkpoint."""
        if self.monitor is None:
            return self._position
        stats = self.monitor.sdk_stats()
        if not stats:
            return self._position
        return {"run_id": self.monitor.run_id, "step": stats["steps"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the run and its step from the checkpoint."""
        self._position = state_dict

    def _stop_together(self, trainer: Any) -> None:
        """Stop every process at the same batch. A collective, so only if there is an ``on_alert`` to request it."""
        if self._lifecycle.can_stop:
            is_requested = trainer.strategy.reduce_boolean_decision(self._lifecycle.stop_requested, all=False)
            trainer.should_stop = trainer.should_stop or is_requested
