"""Errors of the SDK. ``watch`` and ``Client`` raise them; nothing raises inside a training loop unless ``strict=True``.

RelumineError
├── SettingsError       a setting that cannot be used
└── ServerError         the server answered with a problem, or not at all
"""

from __future__ import annotations


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
