"""What watching takes from the training thread, in seconds; the schedule thins the looks by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Cost:
    """Seconds spent, and looks taken for them."""

    spent_s: float = 0.0
    samples: int = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Add what runs inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s += time.perf_counter() - began
