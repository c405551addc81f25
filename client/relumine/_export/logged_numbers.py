"""Numbers that the training logged, read in the sender thread, where a device may be waited for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from relumine._capture.step_stats import LoggedScalar, Number
from relumine._runtime.log import logger
from relumine.schemas.upload import LoggedMetric

# So many metrics that cannot be sent are named in the log.
MAX_NAMED = 100


def read_number(value: Number | None) -> float | None:
    """Return a number, after waiting for its device; None where there is none, or it is not finite."""
    try:
        number = math.nan if value is None else float(value)
    except Exception:  # noqa: BLE001 - a tensor may have come to mean nothing since it was logged
        return None
    return number if math.isfinite(number) else None


class LoggedNumbers:
    """Turns logged numbers into metrics of an upload. One that cannot be sent is named once and costs no other."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def metrics(self, items: Iterable[object]) -> list[dict[str, Any]]:
        """Return the logged numbers among ``items``, for the wire."""
        metrics = []
        for item in items:
            if not isinstance(item, LoggedScalar):
                continue
            try:
                value = float(item.value)
                metrics.append(LoggedMetric(step=item.step, name=item.name, value=value).model_dump())
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one of them, the others are sent
                self._name(item, error)
        return metrics

    def _name(self, item: LoggedScalar, error: Exception) -> None:
        if item.name in self._named or len(self._named) >= MAX_NAMED:
            return
        self._named.add(item.name)
        reason = f"{type(error).__name__} while it was read"
        if isinstance(error, ValueError):  # of LoggedMetric
            reason = f"{item.value} is not a finite number" if isinstance(item.value, float) else "it is not finite"
        logger.warning("log: %r is not sent at step %s: %s", item.name, item.step, reason)
