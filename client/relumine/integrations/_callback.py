"""The common part of the frameworks' callbacks: one ``watch`` per training, its loss per step, its final status."""

from __future__ import annotations

import atexit
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from relumine._monitor.monitor import Monitor
from relumine._monitor.watch import Models, Optimizers, watch
from relumine._runtime.log import logger
from relumine._runtime.open_runs import EXIT_TIMEOUT_S
from relumine.errors import TrainingStopped
from relumine.schemas.alert import Alert
from relumine.schemas.upload import FinalStatus

if TYPE_CHECKING:
    from torch import Tensor


class RunLifecycle:
    """The monitors of successive trainings, one at a time, and the options they are created with.

    Raises:
        TypeError: for an option that ``watch`` does not know, before anything is trained.
    """

    def __init__(self, on_alert: Callable[[Alert], object] | None, options: dict[str, Any]) -> None:
        inspect.signature(watch).bind(None, None, **options)
        self.monitor: Monitor | None = None
        self.stop_requested = False
        self._user_callback = on_alert
        self._options = options
        self._losses: list[Tensor] = []
        self._exit_hook = _call_weakly(weakref.WeakMethod(self._at_exit))

    @property
    def can_stop(self) -> bool:
        """True if there is an ``on_alert`` that might stop the training."""
        return self._user_callback is not None

    def start(
        self, model: Models, optimizers: Optimizers, *, is_main_process: bool, run_id: str | None, start_step: int
    ) -> Monitor:
        """Watch a training from now on; in other processes than the main one the monitor does nothing.

        The user's own options take precedence over the ``run_id`` and ``start_step`` of a checkpoint. A previous
        training that is still open was never finished, so it failed.
        """
        self.finish("failed")
        options = {"run_id": run_id, "start_step": start_step, **self._options}
        if not is_main_process:
            options["mode"] = "disabled"
            logger.info("this process is not watched: the main process watches the training of all")
        self.stop_requested = False
        self._losses = []
        self.monitor = watch(model, optimizers, on_alert=self._on_alert, **options)
        atexit.register(self._exit_hook)
        return self.monitor

    def finish(self, final_status: FinalStatus, timeout_s: float = 10.0) -> None:
        """Close the monitor. A training that an alert stopped has always failed."""
        atexit.unregister(self._exit_hook)
        if self.monitor is not None:
            self.monitor.close(timeout_s, "failed" if self.stop_requested else final_status)

    def add_loss(self, loss: Tensor) -> None:
        """Keep the loss of a micro-batch until its optimizer step; nothing waits for the device."""
        self._losses.append(loss.detach())

    def log_loss(self, factor: float = 1.0) -> None:
        """Log the mean loss of the micro-batches of the latest step, times what the framework divided them by."""
        if self.monitor is not None and self._losses:
            total = sum(self._losses[1:], self._losses[0])
            self.monitor.log(loss=total * (factor / len(self._losses)))
        self._losses = []

    def _on_alert(self, alert: Alert) -> object:
        """Return what the user's callback returned: the monitor reports applied remedies to the server."""
        if self._user_callback is None:
            return None
        try:
            return self._user_callback(alert)
        except TrainingStopped:
            # The framework stops in its own way, so that its checkpoints and loggers end well.
            self.stop_requested = True
            return None

    def _at_exit(self) -> None:
        """Close a training that is still open when the interpreter exits."""
        self.finish("failed", EXIT_TIMEOUT_S)


def _call_weakly(reference: weakref.WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Return a function for ``atexit``, which would otherwise keep the model of a training that crashed."""

    def call() -> None:
        method = reference()
        if method is not None:
            method()

    return call
