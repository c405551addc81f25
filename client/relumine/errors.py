"""Errors of the SDK. ``watch`` and ``Client`` raise them; nothing raises inside a training loop unless ``strict=True``.

RelumineError
├── SettingsError               a setting that cannot be used
├── ServerError                 the server responded with a problem, or not at all
├── TrainingStopped             raised on purpose, by ``stop_training``
└── WebhookVerificationError    a notification that the server did not sign (in ``relumine.webhooks``)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relumine.schemas.printable import printable

if TYPE_CHECKING:
    from relumine.schemas.alert import Alert


class RelumineError(Exception):
    """The base of all errors of this package."""


class SettingsError(RelumineError):
    """A setting, from an argument or the environment, that cannot be used."""


class ServerError(RelumineError):
    """The server responded with a problem, or not at all; ``status`` is 0 then."""

    def __init__(self, message: str, *, status: int = 0, code: str = "no_answer") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TrainingStopped(RelumineError):
    """A critical alert ended the training, as the user asked for with ``stop_training``. ``alert`` is the reason."""

    def __init__(self, alert: Alert) -> None:
        super().__init__(printable(alert.message))
        self.alert = alert
