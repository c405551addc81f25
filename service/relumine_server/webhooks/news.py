"""What one notification tells, before it has a form. A value: nothing here reads, judges or sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from relumine.views import Alert, RunSummary


class Receiver(NamedTuple):
    """The webhook that ``webhook.disabled`` speaks of. Its host alone: a path is as good as a password."""

    webhook_id: str
    host: str
    reason: str


class News(NamedTuple):
    """One notification. ``alerts`` are all of one run; where they are not all there are, ``total`` says how many."""

    event: str
    at: datetime
    alerts: Sequence[Alert]
    total: int
    url: str
    summary: RunSummary | None = None
    webhook: Receiver | None = None
