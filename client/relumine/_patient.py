"""A transport that never keeps its caller for long: the request goes on in a thread of its own.

A server that accepts a connection and then says nothing would otherwise hold the sender's thread for as long as a
request may take, and what the training shows meanwhile would pile up in memory.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from relumine._transport import Transport, TransportError
from relumine.views import Accepted

PATIENCE_S = 0.5


class _Request:
    """One upload under way."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.done = threading.Event()
        self.answer: Accepted | None = None
        self.error: TransportError | None = None


class PatientTransport:
    """Hands uploads to ``inner``, one at a time; gives up waiting after half a second, not on the request."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._under_way: _Request | None = None
        threading.Thread(target=self._run, name="relumine-request", daemon=True).start()

    def post(self, body: bytes) -> Accepted:
        """Post once; asked again with the same body it waits for the same request.

        Raises TransportError, ``pending`` where there is no answer yet.
        """
        request = self._under_way
        if request is None:
            request = self._under_way = _Request(body)
            self._queue.put(request)
        if not request.done.wait(PATIENCE_S):
            raise TransportError("no answer yet", retryable=True, pending=True)
        self._under_way = None
        if request.body != body:
            return self.post(body)  # another upload's answer: it will be asked for again, which does no harm
        if request.answer is None:
            raise request.error or TransportError("no answer", retryable=True)
        return request.answer

    def close(self) -> None:
        """Let the thread end when its request has."""
        self._queue.put(None)

    def _run(self) -> None:
        while (request := self._queue.get()) is not None:
            try:
                request.answer = self._inner.post(request.body)
            except TransportError as error:
                request.error = error
            except Exception as error:  # noqa: BLE001 - whoever waits must be told
                request.error = TransportError(f"{type(error).__name__}: {error}", retryable=True)
            request.done.set()
        self._inner.close()
