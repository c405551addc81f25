"""Relumine sees which ReLU units of a PyTorch training are about to die, says why, and tells somebody in time.

    monitor = relumine.watch(model, optimizer, project="digits", name="baseline")

Importing this package loads neither torch nor httpx: names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relumine import remedies as remedies
    from relumine._watching import watch as watch
    from relumine.check import check as check
    from relumine.client import Client as Client
    from relumine.errors import RelumineError as RelumineError
    from relumine.errors import ServerError as ServerError
    from relumine.errors import SettingsError as SettingsError
    from relumine.errors import TrainingStopped as TrainingStopped
    from relumine.errors import stop_training as stop_training
    from relumine.monitor import Monitor as Monitor
    from relumine.views import Alert as Alert
    from relumine.webhooks import verify as verify_webhook

__version__ = "0.1.0"

_HOME: dict[str, tuple[str, str | None]] = {
    "Alert": ("relumine.views", "Alert"),
    "check": ("relumine.check", "check"),
    "Client": ("relumine.client", "Client"),
    "Monitor": ("relumine.monitor", "Monitor"),
    "remedies": ("relumine.remedies", None),  # the module itself
    "RelumineError": ("relumine.errors", "RelumineError"),
    "ServerError": ("relumine.errors", "ServerError"),
    "SettingsError": ("relumine.errors", "SettingsError"),
    "TrainingStopped": ("relumine.errors", "TrainingStopped"),
    "stop_training": ("relumine.errors", "stop_training"),
    "verify_webhook": ("relumine.webhooks", "verify"),
    "watch": ("relumine._watching", "watch"),
}

__all__ = [
    "Alert",
    "Client",
    "Monitor",
    "RelumineError",
    "ServerError",
    "SettingsError",
    "TrainingStopped",
    "__version__",
    "check",
    "remedies",
    "stop_training",
    "verify_webhook",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'relumine' has no attribute {name!r}")
    module, attribute = _HOME[name]
    home = import_module(module)
    value = home if attribute is None else getattr(home, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
