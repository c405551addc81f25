"""Errors of the SDK. ``watch`` and ``Client`` raise them; nothing raises inside a training loop unless ``strict=True``.

RelumineError
├── SettingsError       a setting that cannot be used
├── ServerError         the server answered with a problem, or not at all
└── TrainingStopped     raised on purpose, by ``stop_training``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relumine.views import Alert


class RelumineError(Exception):
    """Base of everything this package raises."""


class SettingsError(RelumineError):
    """A setting, given or from the environment, that cannot be used."""


class ServerError(RelumineError):
    """The server answered with a problem. ``status`` is 0 where no answer came."""

    def __init__(self, message: str, *, status: int = 0, code: str = "no_answer") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TrainingStopped(RelumineError):
    """A critical alert ended the training, because the user asked for that. ``alert`` says why."""

    def __init__(self, alert: Alert) -> None:
        super().__init__(alert.message)
        self.alert = alert


def stop_training(alert: Alert) -> None:
    """For ``on_alert``: end the training at the first critical alert, by raising TrainingStopped in it.

    Example:
        >>> import relumine
        >>> # relumine.watch(model, optimizer, on_alert=relumine.stop_training)
    """
    if alert.severity == "critical":
        raise TrainingStopped(alert)
