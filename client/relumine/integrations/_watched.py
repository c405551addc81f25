"""What every framework's callback shares: one ``watch`` per training, the loss per step, how it ended."""

from __future__ import annotations

import atexit
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from relumine._uploads import Outcome
from relumine._watching import Models, Optimizers, watch
from relumine.errors import TrainingStopped
from relumine.monitor import EXIT_S, Monitor
from relumine.views import Alert

if TYPE_CHECKING:
    from torch import Tensor


class Watched:
    """Holds the user's options, and the monitor from the first training on."""

    def __init__(self, on_alert: Callable[[Alert], object] | None, options: dict[str, Any]) -> None:
        """Raises TypeError for an option that ``watch`` does not know, before anything is trained."""
        inspect.signature(watch).bind(None, None, **options)
        self.monitor: Monitor | None = None
        self.stop_asked = False
        self.can_stop = on_alert is not None
        self._on_alert, self._options = on_alert, options
        self._losses: list[Tensor] = []

    def begin(
        self, model: Models, optimizers: Optimizers, *, speaks: bool, run_id: str | None, start_step: int
    ) -> Monitor:
        """Watch from here on; where the process does not speak for all, the monitor does nothing.

        What the user chose goes before what a checkpoint says. A training that is still open never said how it
        ended, so it failed.
        """
        self.end("failed")
        chosen = {"run_id": run_id, "start_step": start_step, **self._options}
        if not speaks:
            chosen["mode"] = "disabled"
        self.stop_asked, self._losses = False, []
        self.monitor = watch(model, optimizers, on_alert=self._hand_on, **chosen)
        atexit.register(self._abandoned)
        return self.monitor

    def end(self, outcome: Outcome, timeout: float = 10.0) -> None:
        """Close the monitor; of a training that an alert stopped the outcome is always ``failed``."""
        atexit.unregister(self._abandoned)
        if self.monitor is not None:
            self.monitor.close(timeout, "failed" if self.stop_asked else outcome)

    def add_loss(self, loss: Tensor) -> None:
        """Keep the loss of a micro-batch until its step is made; nothing waits for the device."""
        self._losses.append(loss.detach())

    def log_loss(self, factor: float = 1.0) -> None:
        """Log the mean loss of the micro-batches of the step just made, times what they had been divided by."""
        if self.monitor is not None and self._losses:
            self.monitor.log(loss=sum(self._losses[1:], self._losses[0]) * (factor / len(self._losses)))
        self._losses = []

    def _hand_on(self, alert: Alert) -> object:
        """What ``on_alert`` did goes back to the monitor, which tells the server of remedies."""
        try:
            return self._on_alert(alert) if self._on_alert is not None else None
        except TrainingStopped:
            self.stop_asked = True  # the framework stops in its own way, so that its checkpoints and loggers end well
            return None

    def _abandoned(self) -> None:
        """The interpreter ends, and the training never said that it did."""
        self.end("failed", EXIT_S)
