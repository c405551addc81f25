"""The pace of uploads: every second while something moves, else more seldom. Pure; the caller brings the clock.

Only the uploads are further apart. Their records are the same, so the server finds the same at the same steps.
"""

from __future__ import annotations

# Seconds between two uploads: while something moves, and after long peace.
SHORTEST_S = 1.0
LONGEST_S = 10.0

# Seconds after the last motion in which the pace stays, and seconds of peace beyond it per second of interval.
STEADY_S = 60.0
PEACE_PER_S = 10.0

# Uploads are not held back beyond this: the server analyzes those of 256 records apart, and memory is bounded.
MAX_HELD_RECORDS = 240
MAX_HELD_BYTES = 2**20

# The sender wakes up about once per second: an upload that is due within half a second is sent.
TOLERANCE_S = 0.5


class UploadPace:
    """Decides whether what was recorded is uploaded now. The start of a run counts as motion."""

    def __init__(self, started_s: float) -> None:
        self._moved_s = started_s
        self._sent_s = started_s - LONGEST_S
        self._is_urgent = False
        self._wanted_s = LONGEST_S

    def note_motion(self, now_s: float) -> None:
        """Send at once, and every second for a while: something moves."""
        self._moved_s = now_s
        self._is_urgent = True

    def note_sent(self, now_s: float) -> None:
        """Begin the next interval."""
        self._sent_s = now_s
        self._is_urgent = False

    def request(self, seconds: float | None) -> None:
        """Send at least every so many seconds, as the server asks; None for the own pace."""
        self._wanted_s = LONGEST_S if seconds is None else SHORTEST_S
        if seconds is not None and seconds > SHORTEST_S:  # False for NaN
            self._wanted_s = seconds

    def interval_s(self, now_s: float) -> float:
        """Return the seconds between two uploads."""
        peace_s = max(now_s - self._moved_s - STEADY_S, 0.0)
        return min(SHORTEST_S + peace_s / PEACE_PER_S, LONGEST_S, self._wanted_s)

    def is_due(self, now_s: float, *, records: int, nbytes: int) -> bool:
        """Return True if the records that wait, of so many estimated bytes, are to be sent."""
        if self._is_urgent or records >= MAX_HELD_RECORDS or nbytes >= MAX_HELD_BYTES:
            return True
        return now_s - self._sent_s >= self.interval_s(now_s) - TOLERANCE_S
