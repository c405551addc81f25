"""The one thread that sends: samples in, uploads out in ``seq`` order, alerts back. It never touches the model."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from relumine._buffer import Buffer
from relumine._guard import Guard, say
from relumine._spool import SpoolTransport
from relumine._transport import Transport, TransportError
from relumine._uploads import Outcome, Outgoing, Uploads
from relumine.views import Accepted

AGE_S = 1.0  # the longest a record waits to be sent
ITEMS_PER_UPLOAD = 256
BACKOFF_S = (0.5, 60.0)


class Transports(NamedTuple):
    """Where uploads go, and where they are kept when they cannot."""

    main: Transport
    spool: SpoolTransport


class Sender:
    """Drains the buffer into uploads. Everything it learns from answers goes through ``on_answer``."""

    def __init__(
        self,
        uploads: Uploads,
        buffer: Buffer,
        transports: Transports,
        guard: Guard,
        on_answer: Callable[[Accepted], None],
    ) -> None:
        self.uploads = uploads
        self.acknowledged = 0
        self.kept = 0
        self.refused: str | None = None
        self.connected: bool | None = None
        self._buffer, self._guard, self._on_answer = buffer, guard, on_answer
        self._transport, self.spool = transports
        self._closing: Outcome | None = None
        self._deadline = float("inf")
        self._busy = False
        self._flushing = False
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._jitter = random.Random(uploads.session)  # noqa: S311 - jitter; the user's generators stay untouched

    def start(self) -> None:
        """Start the thread; a daemon, so that it never keeps a process alive."""
        self._thread = threading.Thread(target=self._run, name="relumine-sender", daemon=True)
        self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything put so far was answered; False where the time was too short."""
        deadline = time.monotonic() + timeout_s
        self._flushing = True
        while len(self._buffer) or self._busy or self._flushing:
            left = deadline - time.monotonic()
            if left <= 0 or self._thread is None or not self._thread.is_alive():
                return False
            self._idle.clear()
            self._buffer.wake.set()
            self._idle.wait(min(left, 0.05))
        return True

    def close(self, outcome: Outcome, timeout_s: float) -> None:
        """Send what is left together with the run's outcome, for at most ``timeout_s`` seconds."""
        if self._thread is None:
            return
        self._closing, self._deadline = outcome, time.monotonic() + timeout_s
        self._stopping.set()
        self._buffer.wake.set()
        self._thread.join(timeout_s + 0.5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._buffer.wake.wait(AGE_S)
            self._buffer.wake.clear()
            self._send_all()
        self._send_all(last=True)
        with self._guard.inside("close"):
            self._transport.close()
            self.spool.close()

    def _send_all(self, *, last: bool = False) -> None:
        self._busy = True
        try:
            self._drain(last=last)
        finally:
            self._busy = False
            self._idle.set()

    def _drain(self, *, last: bool) -> None:
        flushing = self._flushing
        while True:
            items = self._buffer.take(ITEMS_PER_UPLOAD)
            done = not len(self._buffer)
            try:
                upload = self.uploads.build(
                    items, self._buffer.dropped, closing=self._closing if last and done else None, now=flushing and done
                )
                if upload is not None:
                    self._deliver(upload)
            except Exception as error:  # noqa: BLE001 - the thread must live as long as the training
                self._guard.note("sender", error)
            if done:
                break
        if flushing:
            self._flushing = False

    def _deliver(self, upload: Outgoing) -> None:
        """Try until it is answered, cannot succeed, or the time at close is over. Order is kept by waiting here."""
        attempt = 0
        while True:
            try:
                answer = self._transport.post(upload.body)
            except TransportError as error:
                attempt += 1
                if not self._may_retry(error, attempt):
                    if error.retryable and self._kept(upload):
                        return
                    self._buffer.count_dropped("undelivered" if error.retryable else "refused", upload.records)
                    return
                continue
            self._answered(upload, answer)
            return

    def _kept(self, upload: Outgoing) -> bool:
        """Put on disk what could not be sent before the end."""
        try:
            self.spool.post(upload.body)
        except TransportError as error:
            say(f"what could not be sent could not be kept either ({error})")
            return False
        self.kept += upload.records
        return True

    def _answered(self, upload: Outgoing, answer: Accepted) -> None:
        if self.connected is False:
            say("the server is back, what was kept is being sent")
        self.connected = True
        self.acknowledged += upload.records
        self.uploads.acknowledged(upload)
        self._on_answer(answer)

    def _may_retry(self, error: TransportError, attempt: int) -> bool:
        """Wait before the next try; False where there shall be none."""
        if not error.retryable:
            if self.refused is None:
                say(f"the server refused an upload, training goes on ({error})")
            self.refused = str(error)
            return False
        if self.connected is not False:
            self.connected = False
            say(f"cannot send, training goes on and statistics are kept meanwhile ({error})")
        if self._stopping.is_set() and (attempt > 1 or time.monotonic() > self._deadline):
            return False
        low, high = BACKOFF_S
        pause = error.retry_after_s or self._jitter.uniform(0, min(high, low * 2**attempt))
        self._stopping.wait(min(pause, max(0.0, self._deadline - time.monotonic())))
        return True
