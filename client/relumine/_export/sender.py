"""The sender thread: sampled steps in, uploads out in ``seq`` order, responses back. It never touches the model.

While the server is away uploads go to disk, and are sent from there, oldest first, when it is back: memory stays
bounded, order is kept, and a process that is killed has lost nothing of an outage.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from relumine._export.queue import SampleQueue
from relumine._export.retry import RetryTimer
from relumine._export.spool import Backlog, SpooledUpload
from relumine._export.transport import Transport, TransportError
from relumine._export.upload_builder import EncodedUpload, UploadBuilder
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import logger
from relumine.schemas.upload import Coverage, FinalStatus, LayerInfo, UploadResponse
from relumine.schemas.watching import Watching

# The longest a sampled step waits in the queue.
MAX_AGE_S = 1.0
ITEMS_PER_UPLOAD = 256


class DeliveryObserver(Protocol):
    """Learns what happens to uploads. Called in the sender thread."""

    def on_response(self, response: UploadResponse) -> None:
        """Note that the server has accepted an upload."""
        ...

    def on_rejected(self) -> None:
        """Note that the server has refused an upload for good."""
        ...

    def on_failed(self) -> None:
        """Note that an upload could not be delivered; it will be tried again."""
        ...

    def on_tick(self) -> None:
        """Do what is due about once per second."""
        ...


def _no_observer() -> None:
    return None


class Sender:
    """The sender thread: turns queued steps into uploads and delivers them.

    ``acked_steps`` and ``acked_records`` count what the server acknowledged.
    """

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
        self.acked_steps = 0
        self.acked_records = 0
        self.unanalyzed_steps = 0
        self.backlog = backlog
        self._builder = builder
        self._queue = queue
        self._transport = transport
        self._guard = guard
        self._observer: Callable[[], DeliveryObserver | None] = _no_observer
        self._is_connected: bool | None = None  # None until the first response or failure
        self._has_rejected = False
        self._final_status: FinalStatus | None = None
        self._deadline = float("inf")
        self._retry = RetryTimer(builder.session)
        self._is_busy = False
        self._is_flushing = False
        self._is_abandoned = False
        self._unsent: deque[EncodedUpload] = deque()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relumine-sender", daemon=True)

    def observe(self, observer: DeliveryObserver) -> None:
        """Tell ``observer`` what happens. It is held weakly: the thread must not keep the training's objects alive."""
        self._observer = weakref.ref(observer)

    def start(self) -> None:
        """Start the thread. It is a daemon, so that it never keeps a process alive."""
        self._thread.start()

    def describe(self, layers: Sequence[LayerInfo], coverage: Coverage) -> None:
        """Send new and changed descriptions with the next uploads."""
        self._builder.describe(layers, coverage)

    def set_watching(self, watching: Watching) -> None:
        """Send whether the training is being watched, at once if that changed."""
        self._builder.set_watching(watching)

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
            "acked_steps": self.acked_steps,
            "acked_records": self.acked_records,
            "unanalyzed_steps": self.unanalyzed_steps,
            "spooled_steps": self.backlog.sampled_steps,
        }

    def flush(self, timeout_s: float) -> bool:
        """Wait until the server has responded to everything queued so far; return False if the time was too short."""
        deadline = time.monotonic() + timeout_s
        self._is_flushing = True
        while len(self._queue) or self._is_busy or self._is_flushing or self.backlog:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not self._thread.is_alive():
                return False
            self._idle.clear()
            self._queue.wakeup.set()
            self._idle.wait(min(remaining_s, 0.05))
        return True

    def close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Send what is left together with the final status, for at most ``timeout_s`` seconds; spool the rest."""
        self.announce_close(final_status, timeout_s)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._abandon_request()

    def announce_close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Let the thread send what is left and end, without waiting for it."""
        self._final_status = final_status
        self._deadline = time.monotonic() + timeout_s
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
        """Spool, in the closing thread, what the sender thread cannot: it is blocked by a request."""
        self._is_abandoned = True
        self._export_queue(last=True)
        self.backlog.close()

    def _run(self) -> None:
        # One tick per second, or earlier when the queue asks for it. The event is cleared before the queue is read,
        # so that a put during the tick starts the next one. The last tick runs after ``close`` has set the deadline:
        # it exports the rest of the queue with the final status, and retries the backlog as long as there is time.
        while not self._stopping.is_set() and self._on_released is None:
            self._queue.wakeup.wait(MAX_AGE_S)
            self._queue.wakeup.clear()
            self._tick(last=False)
        self._tick(last=True)
        # A thread that was blocked beyond the deadline has been abandoned: the closing thread owns the files now.
        if not self._is_abandoned:
            with self._guard.suppress("close"):
                self._transport.close()
                self.backlog.close()
        if self._on_released is not None:
            self._on_released()

    def _tick(self, *, last: bool) -> None:
        """Export the queue, then replay the spool."""
        self._is_busy = True
        try:
            if last:
                self._retry.retry_now()  # the process ends
            self._export_queue(last=last)
            self._replay_spool()
            observer = self._observer()
            if observer is not None:
                observer.on_tick()
            while last and self.backlog and self._wait_for_retry():
                self._replay_spool()
        except Exception as error:  # noqa: BLE001 - the thread must survive for as long as the training runs
            self._guard.record("sender", error)
        finally:
            self._is_busy = False
            self._idle.set()

    def _wait_for_retry(self) -> bool:
        """Sleep until the next retry of the last tick; return False if there is no time or no hope for one."""
        pause_s = self._retry.remaining_s
        if self._is_abandoned or self._retry.attempts > 1 or time.monotonic() + pause_s >= self._deadline:
            return False
        time.sleep(pause_s)  # the training is over: no event can arrive that would have to interrupt this
        return True

    def _export_queue(self, *, last: bool) -> None:
        """Build uploads of everything in the queue, and send or spool each."""
        is_flushing = self._is_flushing
        while True:
            items = self._queue.pop_batch(ITEMS_PER_UPLOAD)
            is_empty = not len(self._queue)
            uploads = self._builder.build(
                items,
                self._queue.dropped,
                final_status=self._final_status if last and is_empty else None,
                force=is_flushing and is_empty,
            )
            self._unsent.extend(uploads)
            self._count_unreadable()
            while self._unsent:
                self._send(self._unsent[0])
                self._unsent.popleft()
            if is_empty:
                break
        if is_flushing:
            self._is_flushing = False

    def _count_unreadable(self) -> None:
        """Count sampled steps that could not be read, as dropped and as errors of ours."""
        while self._builder.unreadable:
            self._queue.count_dropped("unreadable")
            self._guard.record("sender", self._builder.unreadable.pop())

    def _send(self, upload: EncodedUpload) -> None:
        """Send an upload; spool it where others are spooled already, or the server is not to be tried yet."""
        if self.backlog or self._is_abandoned or self._retry.remaining_s:
            self._spool(upload)
            return
        try:
            response = self._transport.post(upload.body)
        except TransportError as error:
            if not self._is_abandoned:
                self._on_failure(upload, error)
        else:
            self._on_response(upload, response)
            self._builder.acknowledge(upload)

    def _on_failure(self, upload: EncodedUpload, error: TransportError) -> None:
        halves = self._builder.split(upload) if error.too_large else []
        if halves:
            # The caller removes the first upload of the queue when it returns: this one, in front of its halves.
            self._unsent.popleft()
            self._unsent.extendleft([*reversed(halves), upload])
        elif error.retryable:
            self._schedule_retry(error)
            self._spool(upload)
        else:
            self._on_rejected(upload, error)

    def _replay_spool(self) -> None:
        """Send spooled uploads, oldest first, for as long as the server accepts them."""
        while self.backlog and not self._is_abandoned and not self._retry.remaining_s:
            upload, body = self.backlog.first()
            if body is None:
                self._queue.count_dropped("spool_lost", upload.sampled_steps)
                self.backlog.remove_first()
                continue
            try:
                response = self._transport.post(body)
            except TransportError as error:
                if error.retryable:
                    self._schedule_retry(error)
                    return
                if error.too_large and self._split_first(upload, body):
                    continue
                self._on_rejected(upload, error)
            else:
                self._on_response(upload, response)
            self.backlog.remove_first()

    def _split_first(self, upload: SpooledUpload, body: bytes) -> bool:
        """Replace the oldest spooled upload by its halves; return False if it cannot be split."""
        halves = self._builder.split(EncodedUpload(body, upload.sampled_steps, upload.records, upload.previous_seq))
        if not halves:
            return False
        try:
            self.backlog.replace_first(halves)
        except OSError:
            return False
        return True

    def _spool(self, upload: EncodedUpload) -> None:
        try:
            self.backlog.add(upload)
        except OSError as error:
            logger.warning("cannot write the spool, uploads are dropped (%s)", error)
            self._queue.count_dropped("spool_full", upload.sampled_steps)

    def _on_response(self, upload: EncodedUpload | SpooledUpload, response: UploadResponse) -> None:
        if self._is_connected is False:
            logger.info("server reachable again, sending spooled uploads")
        self._is_connected = True
        self._retry.reset()
        self.acked_steps += upload.sampled_steps
        self.acked_records += upload.records
        if not response.analyzed:
            self.unanalyzed_steps += upload.sampled_steps
        observer = self._observer()
        if observer is not None:
            observer.on_response(response)

    def _on_rejected(self, upload: EncodedUpload | SpooledUpload, error: TransportError) -> None:
        if not self._has_rejected:
            logger.warning("upload rejected by the server (%s)", error)
        self._has_rejected = True
        observer = self._observer()
        if observer is not None:
            observer.on_rejected()
        self._queue.count_dropped("refused", upload.sampled_steps)

    def _schedule_retry(self, error: TransportError) -> None:
        """Schedule the next try; warn once that the server is away, unless its response is merely late."""
        observer = self._observer()
        if observer is not None:
            observer.on_failed()
        is_away = not self._retry.is_pending(error)
        self._retry.schedule(error)
        if is_away and self._is_connected is not False:
            self._is_connected = False
            logger.warning("cannot reach the server, spooling to disk and retrying (%s)", error)
