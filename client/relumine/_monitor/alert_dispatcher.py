"""The way of alerts from the server's responses to the user's ``on_alert``."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable

from relumine._capture.step_stats import LoggedScalar
from relumine._export.queue import SampleQueue
from relumine._runtime.log import logger, server_lines
from relumine._runtime.sendable import sendable_name
from relumine.alert_actions import RemedyResult, RetryLater
from relumine.errors import TrainingStopped
from relumine.schemas.alert import Alert
from relumine.schemas.incident import (
    Stage,
    incident_message,
    incident_title,
    lead_of,
    severity_of,
    stage,
)

FIRING_STATES = frozenset({"firing", "regressed"})
# What is taken of one answer: as many alerts as the server sends, and none that is larger than any of its. A hostile
# server could send others.
MAX_ALERTS_PER_ANSWER = 200
MAX_ALERT_BYTES = 2**16

# What is held: the alerts received last, and those of them that wait for ``on_alert``.
MAX_HELD_BYTES = 2**24
MAX_WAITING = 1_000

BEFORE_ANY: Stage = (-1, 0)
LOG_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class AlertDispatcher:
    """A mailbox of alerts: filled in the sender thread, emptied in the training thread after each optimizer step.

    ``alerts`` holds the latest version of every alert by its id, as far as there is room for them. What ``on_alert``
    did is logged to the queue. ``on_new`` is called in the sender thread once there is something to dispatch.
    """

    def __init__(self, on_alert: Callable[[Alert], object] | None, queue: SampleQueue) -> None:
        self.alerts: dict[str, Alert] = {}
        self._sizes: dict[str, int] = {}
        self._held_bytes = 0
        self._on_alert = on_alert
        self._queue = queue
        self._logged_stages: dict[str, Stage] = {}
        self._new: deque[Alert] = deque(maxlen=MAX_WAITING)
        self._postponed: deque[str] = deque()
        self.on_new: Callable[[], None] | None = None

    @property
    def has_alerts(self) -> bool:
        """True if ``dispatch`` has anything to do."""
        return bool(self._new or self._postponed)

    def receive(self, alerts: Iterable[Alert]) -> None:
        """Take the alerts of a response, and log the incidents of those worth a notification.

        Called in the sender thread.
        """
        incident_ids: dict[str, None] = {}
        for alert in itertools.islice(alerts, MAX_ALERTS_PER_ANSWER):
            previous = self.alerts.get(alert.id)
            if alert == previous or not self._hold(alert):
                continue
            if should_notify(alert, previous):
                incident_ids[alert.incident_id] = None
                self._new.append(alert)
        if incident_ids and self.on_new is not None:
            self.on_new()
        for incident_id in incident_ids:
            self._log_incident(incident_id)

    def _log_incident(self, incident_id: str) -> None:
        """Log one line for an incident, unless one was logged when it was as bad as this."""
        members = [alert for alert in self.alerts.values() if alert.incident_id == incident_id and _is_shown(alert)]
        worst = max((stage(alert.kind, alert.severity) for alert in members), default=BEFORE_ANY)
        if worst <= self._logged_stages.get(incident_id, BEFORE_ANY):
            return
        self._logged_stages[incident_id] = worst
        if len(self._logged_stages) > MAX_WAITING:
            del self._logged_stages[next(iter(self._logged_stages))]
        lead = lead_of(members)
        severity = severity_of(members)
        message = lead.message
        if len(members) > 1:
            message = incident_message(lead, incident_title(members), severity)
        word = severity.upper()
        server_lines.log(LOG_LEVELS[severity], "%s %s %s", word, message.removeprefix(f"{word} "), lead.url, word=word)

    def _hold(self, alert: Alert) -> bool:
        """Put an alert in the place of its earlier version, and drop the oldest ones where there is no room for it.

        Return False for an alert that is too large to be taken.
        """
        size = len(alert.model_dump_json())
        if size > MAX_ALERT_BYTES:
            return False
        self.alerts[alert.id] = alert
        self._held_bytes += size - self._sizes.get(alert.id, 0)
        self._sizes[alert.id] = size
        while self._held_bytes > MAX_HELD_BYTES:
            oldest = next(iter(self._sizes))
            self._held_bytes -= self._sizes.pop(oldest)
            del self.alerts[oldest]
        return True

    def dispatch(self, step: int) -> None:
        """Call ``on_alert`` for new and postponed alerts. Called in the training thread, holding no lock.

        Raises:
            TrainingStopped: ``on_alert`` asked for it.
        """
        for _ in range(len(self._postponed)):
            alert = self.alerts.get(self._postponed.popleft())
            if alert is not None and alert.is_open:
                self._call(alert, step)
        while self._new:
            self._call(self._new.popleft(), step)

    def _call(self, alert: Alert, step: int) -> None:
        if self._on_alert is None:
            return
        try:
            result = self._on_alert(alert)
        except TrainingStopped:
            raise
        except Exception as error:  # noqa: BLE001 - the user's callback must not end the training by accident
            logger.warning("on_alert failed, training continues (%s: %s)", type(error).__name__, error)
            logger.debug("on_alert failed", exc_info=error)
            return
        except BaseException:
            self._postponed.append(alert.id)  # an interrupt: the alert is not handled yet
            raise
        if isinstance(result, RemedyResult):
            name = sendable_name(f"remedy/{alert.id}/{result.action}")
            value = result.value if isinstance(result.value, (int, float)) else 0.0
            self._queue.put(LoggedScalar(step, name, value))
        elif isinstance(result, RetryLater) and alert.id not in self._postponed:
            self._postponed.append(alert.id)


def _is_shown(alert: Alert) -> bool:
    """Return True for an alert that counts for the line about its incident: it holds, and is not held back."""
    return alert.holds and alert.state != "pending" and not (alert.inhibited_by or alert.silenced_by)


def should_notify(alert: Alert, previous: Alert | None) -> bool:
    """Return True if the alert is new, fires again, or became more severe.

    An alert whose run ended within the upload that raised it counts as new, too. Inhibited and silenced alerts are
    quiet; one that stops being so while it fires counts as firing again.
    """
    if alert.inhibited_by or alert.silenced_by:
        return False
    is_firing = alert.state in FIRING_STATES
    if previous is None:
        return is_firing or alert.state == "ended"
    was_quiet = bool(previous.inhibited_by or previous.silenced_by)
    has_changed = (previous.state, previous.severity, previous.kind) != (alert.state, alert.severity, alert.kind)
    return is_firing and (was_quiet or has_changed)
