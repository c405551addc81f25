"""Watch a training of PyTorch Lightning, from ``lightning`` or ``pytorch_lightning``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from relumine.integrations._watched import Watched
from relumine.monitor import Monitor
from relumine.views import Alert

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
    """Watches each ``fit``: a run that is closed as finished or failed, with the loss of every optimizer step.

    A checkpoint remembers the run, and ``fit(ckpt_path=…)`` goes on with it. Only global rank zero speaks.

    Args:
        on_alert: called with each alert, as by ``relumine.watch``. ``relumine.stop_training``, or whatever raises
            TrainingStopped, sets ``trainer.should_stop``, on several processes at the next ``log_every_n_steps``.
        options: what ``relumine.watch`` takes beside model and optimizer.

    Raises:
        TypeError: for an option that ``relumine.watch`` does not know.

    Example:
        >>> from relumine.integrations.lightning import RelumineCallback
        >>> # Trainer(callbacks=[RelumineCallback(project="digits", name="baseline")])
    """

    def __init__(self, *, on_alert: Callable[[Alert], object] | None = None, **options: Any) -> None:
        self._watched = Watched(on_alert, options)
        self._position: dict[str, Any] = {}
        self._steps = 0

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the latest ``fit``; on other ranks than zero one that does nothing, None before the first."""
        return self._watched.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Optimizers and checkpoint are in place: begin, or go on with the run of the checkpoint."""
        self._steps = trainer.global_step
        position = self._position if self._steps else {}
        self._watched.begin(
            pl_module,
            trainer.optimizers,
            speaks=trainer.is_global_zero,
            run_id=position.get("run_id"),
            start_step=position.get("step", self._steps),
        )

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Tensor | Mapping[str, Any] | None, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss where an optimizer stepped; stop where an alert asked for it."""
        del pl_module, batch
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._watched.add_loss(loss)
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._watched.log_loss(factor=trainer.accumulate_grad_batches)
        if trainer.world_size == 1 or (batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0:
            self._stop_together(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop where an alert asked for it, also in epochs that are shorter than ``log_every_n_steps``."""
        del pl_module
        self._stop_together(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The training came to its end."""
        del trainer, pl_module
        self._position = self.state_dict()
        self._watched.end("finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The training did not come to its end."""
        del trainer, pl_module, exception
        self._watched.end("failed")

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: which run it is, and the step it stands at."""
        stats = self.monitor.sdk_stats() if self.monitor is not None else {}
        return {"run_id": self.monitor.run_id, "step": stats["steps"]} if self.monitor and stats else self._position

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._position = state_dict

    def _stop_together(self, trainer: Any) -> None:
        """Every process stops at the same batch. A collective, so only where ``on_alert`` might ask for it."""
        if self._watched.can_stop:
            asked = trainer.strategy.reduce_boolean_decision(self._watched.stop_asked, all=False)
            trainer.should_stop = trainer.should_stop or asked
