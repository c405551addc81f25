"""The transport of uploads: HTTP to one server, in the background. It decides nothing about retries."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from relumine._runtime.http import NOT_RELUMINE, auth_headers, parse_problem
from relumine.schemas.upload import UploadResponse

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
WAIT_S = 0.5
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})

# Errors that the training cannot correct, but its operator can. Uploads are spooled and retried meanwhile.
AUTH_ERRORS = {
    401: "the server accepts nothing without a valid API key",
    403: "the API key may not send uploads of this project",
    421: "the server does not answer to this host name",
}


class TransportError(Exception):
    """An upload was not accepted.

    Attributes:
        retryable: the same upload can succeed later.
        retry_after_s: the pause that the server asked for.
        too_large: the upload may succeed in parts.
        pending: the request is still in flight.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        too_large: bool = False,
        pending: bool = False,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.too_large = too_large
        self.pending = pending


class Transport(Protocol):
    """A destination of uploads."""

    def post(self, body: bytes) -> UploadResponse:
        """Send one encoded upload. Raises TransportError."""
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class HttpTransport:
    """A transport to a Relumine server over one kept-alive connection; for one thread."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = f"{url}/v1/uploads"
        self._headers = {"content-type": "application/json", **auth_headers(api_key)}
        self._client: httpx.Client | None = None

    def post(self, body: bytes) -> UploadResponse:
        """Send one upload, once. Raises TransportError."""
        import httpx  # noqa: PLC0415 - loaded by the thread that sends, never by `import relumine`

        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT_S, headers=self._headers)
        try:
            response = self._client.post(self._url, content=body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise TransportError(f"{type(error).__name__}: {error}", retryable=True) from error
        if response.status_code != httpx.codes.ACCEPTED:
            raise _error_from(response)
        try:
            return UploadResponse.model_validate_json(response.content)
        except ValueError as error:
            raise TransportError(NOT_RELUMINE, retryable=True) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _error_from(response: httpx.Response) -> TransportError:
    """Return the error that a response stands for, in the server's words where it has some."""
    status = response.status_code
    is_client_error = 400 <= status < 500
    retry_after = response.headers.get("retry-after", "")
    has_seconds = retry_after.isdigit() and len(retry_after) < 6
    return TransportError(
        f"{status} {_reason(response)}",
        retryable=status in RETRYABLE or status in AUTH_ERRORS or not is_client_error,
        retry_after_s=float(retry_after) if has_seconds else None,
        too_large=status == 413,
    )


def _reason(response: httpx.Response) -> str:
    problem = parse_problem(response.content)
    if problem is None:
        return NOT_RELUMINE
    explanation = AUTH_ERRORS.get(response.status_code)
    if explanation is None:
        return f"{problem.code}: {problem.detail}"
    return f"{problem.code}: {explanation}; {problem.detail}"


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
