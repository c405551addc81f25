"""Relumine detects ReLU units that are about to die in a PyTorch training, explains why, and sends an alert in time.

    monitor = relumine.watch(model, optimizer, project="digits", name="baseline")

Importing this package loads neither torch nor httpx: names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relumine import remedies as remedies
    from relumine._analysis.check import check as check
    from relumine._monitor.monitor import Monitor as Monitor
    from relumine._monitor.watch import watch as watch
    from relumine.alert_actions import stop_training as stop_training
    from relumine.client import Client as Client
    from relumine.errors import RelumineError as RelumineError
    from relumine.errors import ServerError as ServerError
    from relumine.errors import SettingsError as SettingsError
    from relumine.errors import TrainingStopped as TrainingStopped
    from relumine.schemas.alert import Alert as Alert
    from relumine.webhooks import verify as verify_webhook

__version__ = "0.1.0"

_LOCATIONS: dict[str, tuple[str, str | None]] = {
    "Alert": ("relumine.schemas.alert", "Alert"),
    "check": ("relumine._analysis.check", "check"),
    "Client": ("relumine.client", "Client"),
    "Monitor": ("relumine._monitor.monitor", "Monitor"),
    "remedies": ("relumine.remedies", None),  # the module itself
    "RelumineError": ("relumine.errors", "RelumineError"),
    "ServerError": ("relumine.errors", "ServerError"),
    "SettingsError": ("relumine.errors", "SettingsError"),
    "TrainingStopped": ("relumine.errors", "TrainingStopped"),
    "stop_training": ("relumine.alert_actions", "stop_training"),
    "verify_webhook": ("relumine.webhooks", "verify"),
    "watch": ("relumine._monitor.watch", "watch"),
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
    if name not in _LOCATIONS:
        raise AttributeError(f"module 'relumine' has no attribute {name!r}")
    module_name, attribute = _LOCATIONS[name]
    module = import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
