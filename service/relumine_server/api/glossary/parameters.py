"""Parameters in the path, in the query and in headers. Keys are names, or ``operation.name``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TIME = "2026-11-30T02:00:00Z"

PARAMETERS: Mapping[str, tuple[str, Any]] = {
    "after_step": ("Return only what lies after this step.", 1200),
    "alert_id": ("The id of an alert: its run, its layer and its problem.", "resnet-7.3.dying"),
    "cursor": ("The next_cursor of the previous page; without it, the first page.", None),
    "delivery_id": ("The id of a delivery.", "dlv_01jd"),
    "count": ("The most units to return.", 200),
    "first": ("The position of the first unit to return in the order that was asked for.", 0),
    "first_unit": ("The first row to return.", 0),
    "format": ("The format of the file.", "csv"),
    "from_step": ("The first step to return.", 0),
    "group": ("Only runs of this group.", "sweep-12"),
    "died_since": (
        "Only runs in which a layer came to be dead or born dead at or after this time.",
        TIME,
    ),
    "health": ("Only runs with this health, or with one of several, separated by commas.", "damaged,collapsed"),
    "if-none-match": ("The ETag of the previous response: if nothing has changed, the answer is 304.", '"none"'),
    "key_id": ("The id of a key: key_ and its first characters.", "key_4bFbZfHR"),
    "kind": ("Only alerts of this kind.", "dying"),
    "layer_id": ("The number of a layer within its run; 0 is the run itself.", 3),
    "limit": ("The most items to return.", 50),
    "needs_attention": (
        "Only runs with an open alert of warning or above that no one has acknowledged or silenced; false: the others.",
        True,
    ),
    "points": ("The most points to return; steps beyond them are downsampled.", 1000),
    "project": ("Only what belongs to this project.", "digits"),
    "q": ("Only runs with this text in their id, name or group.", "resnet"),
    "read_policy.project": ("The name of a project.", "digits"),
    "read_retention.project": ("The name of a project.", "digits"),
    "set_policy.project": ("The name of a project.", "digits"),
    "set_retention.project": ("The name of a project.", "digits"),
    "run_id": ("The id of a run.", "resnet-7"),
    "list_alerts.run_id": ("Only alerts of this run.", "resnet-7"),
    "run_ids": ("The ids of runs, at most 100, separated by commas.", "resnet-7,resnet-8"),
    "severity": ("Only alerts of this severity.", "critical"),
    "silence_id": ("The id of a silence.", "sil_0123456789abcdef0123456789abcdef"),
    "since": ("Only alerts that changed at or after this time.", "2026-11-30T02:00:00Z"),
    "list_incidents.state": ("Only incidents in this state.", "open"),
    "list_incidents.severity": ("Only incidents of this severity.", "critical"),
    "list_incidents.since": ("Only incidents that changed at or after this time.", "2026-11-30T02:00:00Z"),
    "list_incidents.run_id": ("Only incidents of this run.", "resnet-7"),
    "cause": ("Only incidents with this cause.", "high_learning_rate"),
    "state": ("Only alerts in this state; open for every state before the alert is resolved or ends.", "firing"),
    "sort": ("The order; - begins with the largest value, health with the worst.", "-created_at"),
    "tag": ("Only runs with this tag.", "ci"),
    "list_deliveries.state": ("Only deliveries in this state.", "failed"),
    "stalled_or_unwatched": ("Only runs that report nothing or are not being watched; false: the others.", True),
    "statistics": ("The names of statistics, separated by commas.", "active_rate,dead_fraction"),
    "status": ("Only runs with this status, or with one of several, separated by commas.", "running,stalled"),
    "step": ("Return the record at or before this step; without it, the latest.", 1200),
    "to_step": ("The last step to return.", 2000),
    "read_unit_map.points": ("The most steps to return; of more records some are chosen, evenly.", 200),
    "read_unit_table.format": ("The format of the answer; csv has all units in these states.", "json"),
    "read_unit_table.sort": ("The order; - begins with the largest value, state with the worst.", "state"),
    "read_unit_table.state": ("Only units in this state, or in one of several, separated by commas.", "dead,dying"),
    "read_unit_map.sort": ("The order of the rows: by number, or by the last step with an activation.", "last_active"),
    "units": ("The most rows to return.", 512),
    "webhook_id": ("The id of a webhook.", "whk_0123456789abcdef0123456789abcdef"),
}
