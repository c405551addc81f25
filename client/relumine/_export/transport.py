"""The transport of uploads: HTTP to one server, in the background. It decides nothing about retries."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from relumine._runtime.http import (
    NOT_RELUMINE,
    UnboundedResponse,
    client_options,
    parse_problem,
    read_body,
    unlogged_request,
)
from relumine._runtime.server_errors import key_hint, key_problem, start_hint, unreachable
from relumine._runtime.settings import Settings
from relumine.schemas.base import Problem
from relumine.schemas.printable import printable
from relumine.schemas.upload import UploadResponse

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
WAIT_S = 0.5
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})

# An answer of the server has at most 200 alerts, and is far below.
MAX_RESPONSE_BYTES = 2**20
MAX_RESPONSE_S = 30.0

# The longest reason of a server that is shown.
MAX_REASON = 500

URL_HINT = "RELUMINE_URL, or url= of watch, sets the address."
START_HINT = start_hint("relumine-server serve", "RELUMINE_URL, or url= of watch,")

# Tells the server that an upload was recorded earlier: it was read from disk by ``relumine sync``.
REPLAYED = {"relumine-replayed": "true"}

# Errors that the training cannot correct, but its operator can. Uploads are spooled and retried meanwhile.
AUTH_STATUSES = frozenset({401, 403, 421})


class TransportError(Exception):
    """An upload was not accepted.

    Attributes:
        retryable: the same upload can succeed later.
        retry_after_s: the pause that the server asked for.
        too_large: the upload may succeed in parts.
        pending: the request is still in flight.
        code: the code of the server's problem; empty where there is none.
        hint: a sentence on what helps; empty where nothing but time does.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        too_large: bool = False,
        pending: bool = False,
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.too_large = too_large
        self.pending = pending
        self.code = code
        self.hint = ""

    def hinting(self, hint: str) -> Self:
        """Return the error with its hint."""
        self.hint = hint
        return self

    @property
    def lacks_description(self) -> bool:
        """True if the server does not know a layer that was described to it: a backup of it was restored, perhaps."""
        return self.code == "unknown_layer"


class Transport(Protocol):
    """A destination of uploads."""

    def post(self, body: bytes) -> UploadResponse:
        """Send one encoded upload. Raises TransportError."""
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class HttpTransport:
    """A transport to a Relumine server over one kept-alive connection; for one thread.

    ``is_replayed``: the uploads were recorded earlier, by a training that may have ended.
    """

    def __init__(self, settings: Settings, *, is_replayed: bool = False) -> None:
        self._server = settings.url
        self._has_key = settings.api_key is not None or settings.basic_auth is not None
        self._options = client_options(settings)
        self._headers = {"content-type": "application/json", **(REPLAYED if is_replayed else {})}
        self._client: httpx.Client | None = None

    def post(self, body: bytes) -> UploadResponse:
        """Send one upload, once. Raises TransportError."""
        import httpx  # noqa: PLC0415 - loaded by the thread that sends, never by `import relumine`

        try:
            response, content = self._exchange(body)
        except (httpx.HTTPError, httpx.InvalidURL, UnboundedResponse, OSError, ValueError, ImportError) as error:
            sentence = printable(unreachable(self._server, error))
            raise TransportError(sentence, retryable=True).hinting(START_HINT) from error
        if response.status_code != httpx.codes.ACCEPTED:
            raise self._error_from(response, content)
        try:
            return UploadResponse.model_validate_json(content)
        except ValueError as error:
            raise TransportError(f"{self._server}: {NOT_RELUMINE}", retryable=True).hinting(URL_HINT) from error

    def _exchange(self, body: bytes) -> tuple[httpx.Response, bytes]:
        """Send one request; return the response and its body."""
        import httpx  # noqa: PLC0415 - as above

        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT_S, **self._options)
        url = f"{self._server}/v1/uploads"
        with unlogged_request(), self._client.stream("POST", url, content=body, headers=self._headers) as response:
            encoding = response.headers.get("content-encoding", "")
            content = read_body(response.iter_raw(), encoding, max_bytes=MAX_RESPONSE_BYTES, max_s=MAX_RESPONSE_S)
        return response, content

    def _error_from(self, response: httpx.Response, content: bytes) -> TransportError:
        """Return the error that a response stands for."""
        status = response.status_code
        is_client_error = 400 <= status < 500
        problem = parse_problem(content)
        code = "" if problem is None else problem.code
        sentence, hint = self._explanation(status, problem)
        return TransportError(
            printable(sentence[:MAX_REASON]),
            retryable=status in RETRYABLE or status in AUTH_STATUSES or not is_client_error,
            retry_after_s=_seconds(response.headers.get("retry-after", "")),
            too_large=status == 413,
            code=code,
        ).hinting(hint)

    def _explanation(self, status: int, problem: Problem | None) -> tuple[str, str]:
        """Return what is wrong, in the server's words where it has some, and what helps."""
        if problem is None:
            reason = "redirects are not followed" if 300 <= status < 400 else NOT_RELUMINE
            return f"{self._server} answered {status}: {reason}", URL_HINT
        if status == 401:
            sentence = f"{key_problem(self._server, problem.code, has_key=self._has_key)} ({status} {problem.code})"
            return sentence, key_hint("ingest", has_key=self._has_key)
        sentence = f"{self._server} answered {status} {problem.code}: {problem.detail.rstrip('.')}"
        if status == 403:
            return sentence, "Set RELUMINE_API_KEY to a key of scope ingest that may write to this project."
        if status == 421:
            return sentence, f"{URL_HINT} The server's RELUMINE_ALLOWED_HOSTS lists the names it answers to."
        return sentence, ""

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _seconds(retry_after: str) -> float | None:
    is_count = retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6
    return float(retry_after) if is_count else None


class _Request(NamedTuple):
    body: bytes
    response: Future[UploadResponse]


class BackgroundTransport:
    """A transport that waits at most half a second for a response, while the request stays in flight.

    A server that accepts connections and never responds would otherwise block the sender thread for as long as a
    request may take, and sampled steps would pile up in memory.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._in_flight: _Request | None = None
        # Our own daemon thread instead of an executor: concurrent.futures joins its threads when the interpreter
        # exits, so that a request without a response would keep the process alive.
        threading.Thread(target=self._run, name="relumine-request", daemon=True).start()

    def post(self, body: bytes) -> UploadResponse:
        """Send one upload; called again with the same body, wait for the request that is in flight.

        Raises:
            TransportError: the upload was not accepted; ``pending`` where there is no response yet.
        """
        request = self._in_flight
        if request is None:
            request = _Request(body, Future())
            self._in_flight = request
            self._requests.put(request)
        try:
            request.response.exception(WAIT_S)
        except TimeoutError:
            raise TransportError("no response yet", retryable=True, pending=True) from None
        self._in_flight = None
        if request.body != body:
            # The response belongs to an upload that was spooled meanwhile. It will be sent again, which does no harm.
            return self.post(body)
        return request.response.result()

    def close(self) -> None:
        """Let the thread end after the request in flight."""
        self._requests.put(None)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                response = self._transport.post(request.body)
            except TransportError as error:
                request.response.set_exception(error)
            except Exception as error:  # noqa: BLE001 - the sender thread waits for a result, whatever fails here
                request.response.set_exception(TransportError(f"{type(error).__name__}: {error}", retryable=True))
            else:
                request.response.set_result(response)
        self._transport.close()


# Transports that tests put in place of the configured one; the innermost is last.
transport_overrides: list[Transport] = []


def transport_override() -> Transport | None:
    """Return the transport that a test has put in place."""
    return transport_overrides[-1] if transport_overrides else None
