"""The delivery of uploads in ``seq`` order: to the server, or to disk while it is away. Called in the sender thread."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from relumine._export.queue import SampleQueue
from relumine._export.retry import RetryTimer
from relumine._export.spool import Backlog, SpooledUpload
from relumine._export.transport import Transport, TransportError
from relumine._export.upload_builder import EncodedUpload, UploadBuilder
from relumine._runtime.log import logger
from relumine.schemas.upload import UploadResponse


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


class Delivery:
    """Delivers uploads, and counts what became of them.

    ``backlog`` holds the uploads on disk. ``is_abandoned`` is set by the closing thread where a request blocks the
    sender thread: nothing is sent from then on.
    """

    def __init__(self, builder: UploadBuilder, queue: SampleQueue, transport: Transport, backlog: Backlog) -> None:
        self.acked_steps = 0
        self.backlog = backlog
        self.is_abandoned = False
        self._acked_records = 0
        self._unanalyzed_steps = 0
        self._builder = builder
        self._queue = queue
        self._transport = transport
        self._observer: Callable[[], DeliveryObserver | None] = _no_observer
        self._is_connected: bool | None = None  # None until the first response or failure
        self._has_rejected = False
        self._retry = RetryTimer(builder.session)
        self._unsent: deque[EncodedUpload] = deque()

    def observe(self, observer: DeliveryObserver) -> None:
        """Tell ``observer`` what happens. It is held weakly: the thread must not keep the training's objects alive."""
        self._observer = weakref.ref(observer)

    @property
    def observer(self) -> DeliveryObserver | None:
        """The observer, while it exists."""
        return self._observer()

    def stats(self) -> dict[str, Any]:
        """Return counts of sampled steps and records, for ``Monitor.sdk_stats``."""
        return {
            "acked_steps": self.acked_steps,
            "acked_records": self._acked_records,
            "unanalyzed_steps": self._unanalyzed_steps,
            "spooled_steps": self.backlog.sampled_steps,
        }

    def deliver(self, uploads: Iterable[EncodedUpload]) -> None:
        """Send or spool each upload, in order."""
        self._unsent.extend(uploads)
        while self._unsent:
            self._send(self._unsent[0])
            self._unsent.popleft()

    def retry_now(self) -> None:
        """Try the server again at once: the process ends."""
        self._retry.retry_now()

    def close(self) -> None:
        """Close the connection and the files."""
        self._transport.close()
        self.backlog.close()

    def wait_for_retry(self, deadline: float) -> bool:
        """Sleep until the next retry of the last tick; return False if there is no time or no hope for one."""
        pause_s = self._retry.remaining_s
        if self.is_abandoned or self._retry.attempts > 1 or time.monotonic() + pause_s >= deadline:
            return False
        time.sleep(pause_s)  # the training is over: no event can arrive that would have to interrupt this
        return True

    def _send(self, upload: EncodedUpload) -> None:
        """Send an upload; spool it where others are spooled already, or the server is not to be tried yet."""
        if self.backlog or self.is_abandoned or self._retry.remaining_s:
            self._spool(upload)
            return
        try:
            response = self._transport.post(upload.body)
        except TransportError as error:
            if not self.is_abandoned:
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

    def replay_spool(self) -> None:
        """Send spooled uploads, oldest first, for as long as the server accepts them."""
        while self.backlog and not self.is_abandoned and not self._retry.remaining_s:
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
        self._acked_records += upload.records
        if not response.analyzed:
            self._unanalyzed_steps += upload.sampled_steps
        observer = self.observer
        if observer is not None:
            observer.on_response(response)

    def _on_rejected(self, upload: EncodedUpload | SpooledUpload, error: TransportError) -> None:
        if not self._has_rejected:
            logger.warning("upload rejected by the server (%s)", error)
        self._has_rejected = True
        observer = self.observer
        if observer is not None:
            observer.on_rejected()
        self._queue.count_dropped("refused", upload.sampled_steps)

    def _schedule_retry(self, error: TransportError) -> None:
        """Schedule the next try; warn once that the server is away, unless its response is merely late."""
        observer = self.observer
        if observer is not None:
            observer.on_failed()
        is_away = not self._retry.is_pending(error)
        self._retry.schedule(error)
        if is_away and self._is_connected is not False:
            self._is_connected = False
            logger.warning("cannot reach the server, spooling to disk and retrying (%s)", error)
