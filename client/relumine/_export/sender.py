"""The sender thread: sampled steps in, uploads out in ``seq`` order, responses back. It never touches the model.

While the server is away uploads go to disk, and are sent from there, oldest first, when it is back: memory stays
bounded, order is kept, and a process that is killed has lost nothing of an outage.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from relumine._export.delivery import Delivery
from relumine._export.queue import SampleQueue
from relumine._export.spool import Backlog
from relumine._export.transport import Transport
from relumine._export.upload_builder import UploadBuilder
from relumine._runtime.guard import ErrorGuard
from relumine.schemas.upload import Coverage, FinalStatus, LayerInfo, UploadResponse
from relumine.schemas.watching import Watching

# The longest a sampled step waits in the queue. Its record may wait longer for its upload: ``upload_pace`` decides.
MAX_AGE_S = 1.0
ITEMS_PER_UPLOAD = 256

# The longest that the closing thread waits for a sender thread that is at work beyond its time.
ABANDON_S = 2.0

# The time between two checks of what a flush waits for.
FLUSH_POLL_S = 0.05


class Sender:
    """The sender thread: turns queued steps into uploads and has them delivered."""

    _on_released: Callable[[], None] | None = None

    def __init__(
        self,
        builder: UploadBuilder,
        queue: SampleQueue,
        transport: Transport,
        backlog: Backlog,
        *,
        guard: ErrorGuard,
    ) -> None:
        self.delivery = Delivery(builder, queue, transport, backlog)
        self._builder = builder
        self._queue = queue
        self._guard = guard
        self._final_status: FinalStatus | None = None
        self._deadline = float("inf")
        self._is_busy = False
        self._is_flushing = False
        self._alerts: set[tuple[str, ...]] = set()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relumine-sender", daemon=True)

    def start(self) -> None:
        """Start the thread. It is a daemon, so that it never keeps a process alive."""
        self._thread.start()

    def describe(self, layers: Sequence[LayerInfo], coverage: Coverage) -> None:
        """Send new and changed descriptions with the next uploads."""
        self._builder.describe(layers, coverage)

    def set_watching(self, watching: Watching) -> None:
        """Send whether the training is being watched, at once if that changed."""
        self._builder.set_watching(watching)

    def note_response(self, response: UploadResponse) -> None:
        """Send as often as the server asks, and at once where alerts change. Called in the sender thread."""
        self._builder.pace.request(response.flush_every)
        alerts: set[tuple[str, ...]] = {
            (alert.id, alert.state, alert.severity, alert.kind) for alert in response.alerts
        }
        is_pending = any(alert.state == "pending" for alert in response.alerts)
        if alerts != self._alerts or is_pending:
            self._builder.pace.note_motion(time.monotonic())
        self._alerts = alerts

    @property
    def steps_without_gradient(self) -> int:
        """Sampled steps in a row on which no gradient reached any layer."""
        return self._builder.steps_without_gradient

    def take_input_jump(self) -> bool:
        """Return True if the model's input has jumped since the last call."""
        return self._builder.take_input_jump()

    def latest_rates(self, counting_positions: Collection[int] = ()) -> dict[int, dict[str, float]]:
        """Return fractions of examples and units at the latest sampled step, by layer."""
        return self._builder.latest_rates(counting_positions)

    def stats(self) -> dict[str, Any]:
        """Return counts of uploads, sampled steps and records, for ``Monitor.sdk_stats``."""
        return {
            "uploads": self._builder.count,
            "upload_bytes": self._builder.nbytes,
            "merged_steps": self._builder.merged_steps,
            **self.delivery.stats(),
        }

    def flush(self, timeout_s: float) -> bool:
        """Wait until the server has responded to everything queued so far; return False if the time was too short."""
        deadline = time.monotonic() + timeout_s
        self._is_flushing = True
        while len(self._queue) or self._is_busy or self._is_flushing or self.delivery.backlog:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not self._thread.is_alive():
                return False
            self._idle.clear()
            self._queue.wakeup.set()
            self._idle.wait(min(remaining_s, FLUSH_POLL_S))
            if self.delivery.backlog:
                # The server is away, and the sender thread has nothing to do until its next attempt.
                time.sleep(min(remaining_s, FLUSH_POLL_S))  # without it both threads would be busy all the time
        return True

    def close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Send what is left together with the final status, for at most ``timeout_s`` seconds; spool the rest."""
        self.announce_close(final_status, timeout_s)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._abandon_request()

    def announce_close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Let the thread send what is left and end, without waiting for it. A second call extends nothing."""
        self._final_status = final_status
        deadline = time.monotonic() + timeout_s
        self._deadline = min(self._deadline, deadline) if self._stopping.is_set() else deadline
        self._stopping.set()
        self._queue.wakeup.set()

    def release(self, on_released: Callable[[], None]) -> None:
        """Let the thread end the run as finished at its next tick, and call ``on_released`` then.

        The garbage collector calls this, in any thread and between any two instructions, so it takes no lock.
        """
        self._final_status = "finished"
        self._deadline = time.monotonic() + MAX_AGE_S
        self._on_released = on_released

    def _abandon_request(self) -> None:
        """Spool, in the closing thread, what the sender thread cannot: it is blocked by a request.

        The wait for its turn counts from the deadline: several runs that end together wait for the time of one.
        """
        if not self.delivery.turn.acquire(timeout=max(0.0, self._deadline + ABANDON_S - time.monotonic())):
            return  # it is at work, and ends by itself
        try:
            self.delivery.is_abandoned = True
            self._export_queue(last=True)
            self.delivery.backlog.close()
        finally:
            self.delivery.turn.release()

    def _run(self) -> None:
        # One tick per second, or earlier when the queue asks for it. The event is cleared before the queue is read,
        # so that a put during the tick starts the next one. The last tick runs after ``close`` has set the deadline:
        # it exports the rest of the queue with the final status, and retries the backlog as long as there is time.
        while not self._stopping.is_set() and self._on_released is None:
            self._queue.wakeup.wait(MAX_AGE_S)
            self._queue.wakeup.clear()
            with self.delivery.turn:
                self._tick(last=False)
        with self.delivery.turn:
            if not self.delivery.is_abandoned:
                self._tick(last=True)
            # A thread that was blocked beyond the deadline has been abandoned: the closing thread owns the files now.
            if not self.delivery.is_abandoned:
                with self._guard.suppress("close"):
                    self.delivery.close()
        if self._on_released is not None:
            self._on_released()

    def _tick(self, *, last: bool) -> None:
        """Export the queue, then replay the spool, while holding the turn."""
        self._is_busy = True
        try:
            if last:
                self.delivery.retry_now()
            self._export_queue(last=last)
            self.delivery.replay_spool()
            observer = self.delivery.observer
            if observer is not None:
                observer.on_tick()
            while last and self.delivery.backlog and self.delivery.wait_for_retry(self._deadline):
                self.delivery.replay_spool()
        except Exception as error:  # noqa: BLE001 - the thread must survive for as long as the training runs
            self._guard.record("sender", error)
        finally:
            self._is_busy = False
            self._idle.set()

    def _export_queue(self, *, last: bool) -> None:
        """Build uploads of everything in the queue, and send or spool each."""
        is_flushing = self._is_flushing
        if self._queue.is_urgent:
            self._queue.is_urgent = False
            self._builder.pace.note_motion(time.monotonic())
        while True:
            items = self._queue.pop_batch(ITEMS_PER_UPLOAD)
            is_empty = not len(self._queue)
            uploads = self._builder.build(
                items,
                self._queue.dropped,
                final_status=self._final_status if last and is_empty else None,
                force=is_flushing and is_empty,
            )
            self._count_unreadable()
            self.delivery.deliver(uploads)
            if is_empty:
                break
        if is_flushing:
            self._is_flushing = False

    def _count_unreadable(self) -> None:
        """Count sampled steps that could not be read, as dropped and as errors of ours."""
        while self._builder.unreadable:
            self._queue.count_dropped("unreadable")
            self._guard.record("sender", self._builder.unreadable.pop())
