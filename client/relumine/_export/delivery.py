"""The delivery of uploads in ``seq`` order: to the server, or to disk while it is away. Called in the sender thread."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from relumine._export.delivery_observer import DeliveryObserver
from relumine._export.queue import SampleQueue
from relumine._export.retry import RetryTimer
from relumine._export.spool import Backlog, SpooledUpload, SpoolError, drop_reason
from relumine._export.transport import Transport, TransportError
from relumine._export.upload_builder import EncodedUpload, UploadBuilder
from relumine._export.upload_split import steps_of
from relumine._runtime.log import logger, server_lines
from relumine.schemas.upload import UploadResponse


def _no_observer() -> None:
    return None


class Delivery:
    """Delivers uploads, and counts what became of them.

    ``backlog`` holds the uploads on disk. ``turn`` is held by the thread that works, and is free while that thread
    waits for the server: then the closing thread may take it, and set ``is_abandoned``. Nothing is sent from then on,
    and the thread that waited changes nothing more.
    """

    def __init__(self, builder: UploadBuilder, queue: SampleQueue, transport: Transport, backlog: Backlog) -> None:
        self.acked_steps = 0
        self.backlog = backlog
        self.turn = threading.Lock()
        self.is_abandoned = False
        self._acked_records = 0
        self._unanalyzed_steps = 0
        self._builder = builder
        self._queue = queue
        self._transport = transport
        self._observer: Callable[[], DeliveryObserver | None] = _no_observer
        self._is_connected: bool | None = None  # None until the first response or failure
        self._has_rejected = False
        self._has_failed_to_spool = False
        self._posted: tuple[SpooledUpload, bytes] | None = None
        self._too_large_records = 0
        self._has_warned_of_size = False
        self._too_large_step: int | None = None
        self.lost_descriptions = 0
        """Uploads that had to describe everything again, as the server had lost a description."""
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
            "too_large_records": self._too_large_records,
        }

    def deliver(self, uploads: Iterable[EncodedUpload]) -> None:
        """Send or spool each upload, in order."""
        self._unsent.extend(uploads)
        while self._unsent:
            upload = self._unsent[0]
            self._send(upload)
            if self._unsent and self._unsent[0] is upload:  # else the closing thread has spooled it
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
        is_hopeless = self._retry.attempts > 1 and not self._retry.is_awaited
        if self.is_abandoned or is_hopeless or time.monotonic() + pause_s >= deadline:
            return False
        with self._free_turn():
            time.sleep(pause_s)  # the training is over: no event can arrive that would have to interrupt this
        return not self.is_abandoned

    @contextmanager
    def _free_turn(self) -> Iterator[None]:
        """Let the closing thread work during the block."""
        self.turn.release()
        try:
            yield
        finally:
            self.turn.acquire()

    def _send(self, upload: EncodedUpload) -> None:
        """Send an upload; spool it where others are spooled already, or the server is not to be tried yet."""
        if self.backlog or self.is_abandoned or self._retry.remaining_s:
            self._spool(upload)
            return
        try:
            described, response = self._post(upload)
        except TransportError as error:
            if not self.is_abandoned:
                self._on_failure(upload, error)
        else:
            if not self.is_abandoned:
                self._builder.acknowledge(described)
                self._on_response(upload, response)

    def _post(self, upload: EncodedUpload) -> tuple[EncodedUpload, UploadResponse]:
        """Send an upload, and once more with everything described if the server lacks a description."""
        try:
            return upload, self._request(upload.body)
        except TransportError as error:
            is_wanted = error.lacks_description and not self.is_abandoned
            described = self._builder.describe_in_full(upload) if is_wanted else None
            if described is None:
                raise
        self.lost_descriptions += 1
        return described, self._request(described.body)

    def _request(self, body: bytes) -> UploadResponse:
        with self._free_turn():
            return self._transport.post(body)

    def _on_failure(self, upload: EncodedUpload, error: TransportError) -> None:
        parts = self._builder.split(upload) if error.too_large else []
        if parts:
            # The caller removes the first upload of the queue when it returns: this one, in front of its parts.
            self._unsent.popleft()
            self._unsent.extendleft([*reversed(parts), upload])
        elif error.retryable:
            self._schedule_retry(error)
            self._spool(upload, posted=upload.body if error.pending else None)
        else:
            self._on_rejected(upload, upload.body, error)

    def replay_spool(self) -> None:
        """Send spooled uploads, oldest first, for as long as the server accepts them."""
        while self.backlog and not self.is_abandoned and not self._retry.remaining_s:
            upload, body = self.backlog.first()
            if self._posted is not None and self._posted[0] is upload:
                body = self._posted[1]  # its response is still awaited
            if body is None:
                self._queue.count_dropped("spool_lost", upload.sampled_steps)
                self.backlog.remove_first()
            elif not self._replay(upload, body):
                return

    def _replay(self, upload: SpooledUpload, body: bytes) -> bool:
        """Send the oldest spooled upload; return False if the server is not to be tried again yet."""
        encoded = EncodedUpload(body, upload.sampled_steps, upload.records, upload.previous_seq)
        try:
            described, response = self._post(encoded)
        except TransportError as error:
            if self.is_abandoned:
                return False
            if not error.pending:
                self._posted = None
            if error.retryable:
                self._schedule_retry(error)
                return False
            if error.too_large and self._split_first(encoded):
                return True
            self._on_rejected(upload, body, error)
        else:
            if self.is_abandoned:
                return False
            self._builder.acknowledge(described)
            self._on_response(upload, response)
        self.backlog.remove_first()
        return True

    def _split_first(self, upload: EncodedUpload) -> bool:
        """Replace the oldest spooled upload by its parts; return False if it cannot be split."""
        parts = self._builder.split(upload)
        if not parts:
            return False
        try:
            self.backlog.replace_first(parts)
        except OSError:
            return False
        return True

    def _spool(self, upload: EncodedUpload, posted: bytes | None = None) -> None:
        """Write an upload to disk. ``posted`` is its body in a request that is still in flight.

        The first upload of a file describes everything: it may be sent to a server that was restored from a backup and
        knows nothing of the run.
        """
        complete = self._builder.describe_in_full(upload) if self.backlog.begins_file else None
        try:
            spooled = self.backlog.add(complete or upload)
        except OSError as error:
            self._on_spool_failed(upload, drop_reason(error), error)
            return
        self._has_failed_to_spool = False
        if posted is not None:
            self._posted = (spooled, posted)

    def _on_spool_failed(self, upload: EncodedUpload | SpooledUpload, reason: str, error: Exception) -> None:
        if not self._has_failed_to_spool:
            logger.warning("cannot write the spool, uploads are dropped and counted (%s)", error)
        self._has_failed_to_spool = True
        self._queue.count_dropped(reason, upload.sampled_steps)

    def _on_response(self, upload: EncodedUpload | SpooledUpload, response: UploadResponse) -> None:
        if self._is_connected is False:
            server_lines.log(logging.INFO, "the server accepts uploads again; sending those that were buffered")
        self._is_connected = True
        self._posted = None
        self._retry.reset()
        self.acked_steps += upload.sampled_steps
        self._acked_records += upload.records
        self._builder.compare_known_layers(response.known_layers)
        if not response.analyzed:
            self._unanalyzed_steps += upload.sampled_steps
        observer = self.observer
        if observer is not None:
            observer.on_response(response)

    def _on_rejected(self, upload: EncodedUpload | SpooledUpload, body: bytes, error: TransportError) -> None:
        """Count an upload that will never be accepted as it is."""
        if isinstance(error, SpoolError):
            self._on_spool_failed(upload, error.reason, error)
        elif error.too_large:
            self._set_aside(upload, body, error)
        else:
            if not self._has_rejected:
                logger.warning("upload rejected: %s. Training continues without that data", error)
            self._has_rejected = True
            self._queue.count_dropped("refused", upload.sampled_steps)
        observer = self.observer
        if observer is not None:
            observer.on_rejected()

    def _set_aside(self, upload: EncodedUpload | SpooledUpload, body: bytes, error: TransportError) -> None:
        """Keep on disk what is too large for the server and cannot be sent in parts, and count it."""
        if not self._has_warned_of_size:
            self._has_warned_of_size = True
            logger.warning(
                "a record of %s bytes is larger than the server or a proxy takes, and is kept on disk (%s)",
                f"{len(body):,}",
                error,
            )
        self._too_large_records += upload.records
        step, sampled_steps = steps_of(body)
        missing = upload.sampled_steps
        if not missing and step != self._too_large_step:
            # The run's record of this step was sent earlier. The step is delivered only with all of its records.
            missing = sampled_steps
            self.acked_steps -= missing
        if missing:
            self._queue.count_dropped("too_large", missing)
        self._too_large_step = step
        encoded = EncodedUpload(body, upload.sampled_steps, upload.records, upload.previous_seq)
        try:
            self.backlog.add_large((self._builder.describe_in_full(encoded) or encoded).body)
        except OSError as failure:
            logger.warning("cannot keep it (%s)", failure)

    def _schedule_retry(self, error: TransportError) -> None:
        """Schedule the next try; warn once that the server is away, unless its response is merely late."""
        observer = self.observer
        if observer is not None:
            observer.on_failed()
        is_away = not self._retry.is_pending(error)
        self._retry.schedule(error)
        if is_away and self._is_connected is not False:
            self._is_connected = False
            text = "%s. Training continues; data is buffered in %s and sent later. %s"
            server_lines.log(logging.WARNING, text, error, self.backlog.folder, error.hint)
