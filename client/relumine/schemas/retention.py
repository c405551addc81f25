"""The retention of a project as the server answers it."""

from __future__ import annotations

from relumine.schemas.base import View


class RetentionSettings(View):
    """The retention of a project. The scalars of a record are stored as long as its run."""

    unit_stats_bytes_per_run: int
    unit_stats_keep_every: int
    run_retention_days: int | None
