"""The one thread that sends: samples in, uploads out in ``seq`` order, alerts back. It never touches the model.

While the server is away uploads go to disk, and are sent from there, oldest first, when it is back: memory stays
bounded, order is kept, and a process that is killed has lost nothing of an outage.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from relumine._buffer import Buffer
from relumine._guard import Guard, say
from relumine._spool import Backlog, Waiting
from relumine._transport import Transport, TransportError
from relumine._uploads import Outcome, Outgoing, Uploads
from relumine.views import Accepted

AGE_S = 1.0  # the longest a record waits to be sent
ITEMS_PER_UPLOAD = 256
BACKOFF_S = (0.5, 30.0)
PENDING_TRIES, PENDING_PAUSE_S = 5, 0.2  # three or four seconds without an answer before contact counts as lost
RETRY_AFTER_S = 60.0  # the longest that a server may make us wait


class Sender:
    """Drains the buffer into uploads. Everything it learns from answers goes through ``on_answer``."""

    def __init__(
        self,
        uploads: Uploads,
        buffer: Buffer,
        transport: Transport,
        backlog: Backlog,
        guard: Guard,
        on_answer: Callable[[Accepted], None],
    ) -> None:
        self.uploads, self.backlog = uploads, backlog
        self.sent = 0
        """Looks that were acknowledged; ``acknowledged`` counts records."""
        self.acknowledged = 0
        self.refused: str | None = None
        self.connected: bool | None = None
        self._buffer, self._transport = buffer, transport
        self._guard, self._on_answer = guard, on_answer
        self._closing: Outcome | None = None
        self._deadline = float("inf")
        self._retry_at = 0.0
        self._attempts = 0
        self._busy = self._flushing = self._abandoned = False
        self._pending: deque[Outgoing] = deque()
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
        while len(self._buffer) or self._busy or self._flushing or self.backlog:
            left = deadline - time.monotonic()
            if left <= 0 or self._thread is None or not self._thread.is_alive():
                return False
            self._idle.clear()
            self._buffer.wake.set()
            self._idle.wait(min(left, 0.05))
        return True

    def close(self, outcome: Outcome, timeout_s: float) -> None:
        """Send what is left together with the outcome, for at most ``timeout_s`` seconds; the rest stays on disk."""
        if self._thread is None:
            return
        self._closing, self._deadline = outcome, time.monotonic() + timeout_s
        self._stopping.set()
        self._buffer.wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._rescue()

    def _rescue(self) -> None:
        """The thread is stuck in a request: keep what it holds and what waits, from here."""
        self._abandoned = True
        self._drain(last=True)
        self.backlog.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._buffer.wake.wait(AGE_S)
            self._buffer.wake.clear()
            self._work(last=False)
        self._work(last=True)
        if not self._abandoned:
            with self._guard.inside("close"):
                self._transport.close()
                self.backlog.close()

    def _work(self, *, last: bool) -> None:
        self._busy = True
        try:
            self._retry_at = 0.0 if last else self._retry_at  # at the end nobody waits: try at once
            self._drain(last=last)
            self._catch_up()
            while last and self.backlog and self._may_wait():
                self._catch_up()
        except Exception as error:  # noqa: BLE001 - the thread must live as long as the training
            self._guard.note("sender", error)
        finally:
            self._busy = False
            self._idle.set()

    def _may_wait(self) -> bool:
        """At the end: wait for the next try, if there is time for one."""
        pause = max(self._retry_at - time.monotonic(), 0.0)
        if self._abandoned or time.monotonic() + pause >= self._deadline or self._attempts > 1:
            return False
        time.sleep(pause)  # the process ends: nothing else is left to do, or to be woken by
        return True

    def _drain(self, *, last: bool) -> None:
        flushing = self._flushing
        while True:
            items = self._buffer.take(ITEMS_PER_UPLOAD)
            done = not len(self._buffer)
            closing = self._closing if last and done else None
            self._pending.extend(
                self.uploads.build(items, self._buffer.dropped, closing=closing, now=flushing and done)
            )
            while self._pending:
                self._deliver(self._pending[0])
                self._pending.popleft()
            if done:
                break
        if flushing:
            self._flushing = False

    def _deliver(self, upload: Outgoing) -> None:
        """Send an upload, or keep it on disk behind those that wait there."""
        if self.backlog or self._abandoned or time.monotonic() < self._retry_at:
            self._keep(upload)
            return
        try:
            answer = self._transport.post(upload.body)
        except TransportError as error:
            if not self._abandoned:
                self._failed(upload, error)
        else:
            self._answered(upload.looks, upload.records, answer)
            self.uploads.acknowledged(upload)

    def _failed(self, upload: Outgoing, error: TransportError) -> None:
        halves = self.uploads.halved(upload) if error.too_large else []
        if halves:
            self._pending.popleft()
            self._pending.extendleft([*reversed(halves), upload])  # which whoever delivers takes off
        elif error.retryable:
            self._lost_contact(error)
            self._keep(upload)
        else:
            self._refused(upload.looks, error)

    def _catch_up(self) -> None:
        """Send what waits on disk, as long as the server takes it."""
        while self.backlog and not self._abandoned and time.monotonic() >= self._retry_at:
            waiting, body = self.backlog.first()
            try:
                answer = None if body is None else self._transport.post(body)
            except TransportError as error:
                if error.retryable:
                    self._lost_contact(error)
                    return
                if error.too_large and self._split_first(waiting, body):
                    continue
                self._refused(waiting.looks, error)
            else:
                if answer is None:
                    self._buffer.count_dropped("spool_lost", waiting.looks)
                else:
                    self._answered(waiting.looks, waiting.records, answer)
            self.backlog.done()

    def _split_first(self, waiting: Waiting, body: bytes | None) -> bool:
        """Two halves in place of the oldest upload on disk; False where it cannot be split."""
        if body is None:
            return False
        halves = self.uploads.halved(Outgoing(body, waiting.looks, waiting.records, waiting.after, (), None))
        try:
            self.backlog.replace_first(halves)
        except OSError:
            return False
        return bool(halves)

    def _keep(self, upload: Outgoing) -> None:
        try:
            self.backlog.add(upload)
        except OSError as error:
            say(f"what cannot be sent cannot be kept either ({error})")
            self._buffer.count_dropped("spool_full", upload.looks)

    def _answered(self, looks: int, records: int, answer: Accepted) -> None:
        if self.connected is False:
            say("the server is back, what was kept is being sent")
        self.connected, self._attempts, self._retry_at = True, 0, 0.0
        self.sent += looks
        self.acknowledged += records
        self._on_answer(answer)

    def _refused(self, looks: int, error: TransportError) -> None:
        if self.refused is None:
            say(f"the server refused an upload, training goes on ({error})")
        self.refused = str(error)
        self._buffer.count_dropped("refused", looks)

    def _lost_contact(self, error: TransportError) -> None:
        """Note when to try again: full jitter, and at least what the server asked for, up to a minute."""
        if error.pending and self._attempts < PENDING_TRIES:
            self._attempts += 1
            self._retry_at = time.monotonic() + PENDING_PAUSE_S
            return
        if self.connected is not False:
            self.connected = False
            say(f"cannot send, training goes on and statistics are kept meanwhile ({error})")
        low, high = BACKOFF_S
        pause = self._jitter.uniform(0, min(high, low * 2**self._attempts))
        self._attempts += 1
        self._retry_at = time.monotonic() + max(pause, min(error.retry_after_s or 0.0, RETRY_AFTER_S))
