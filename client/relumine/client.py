"""The synchronous client of the server's HTTP API, typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from relumine._client.alert_requests import AlertRequests
from relumine._client.project_requests import ProjectRequests
from relumine._client.run_requests import RunRequests
from relumine._client.webhook_requests import WebhookChanges, WebhookFields, WebhookRequests
from relumine._runtime.http import (
    NOT_RELUMINE,
    UnboundedResponse,
    client_options,
    parse_problem,
    read_body,
    unlogged_request,
)
from relumine._runtime.server_errors import unreachable
from relumine._runtime.settings import resolve_settings
from relumine.errors import ServerError, SettingsError
from relumine.schemas.printable import printable

__all__ = ["Client", "WebhookChanges", "WebhookFields"]

# The longest answer that is read, and how long reading one may take.
MAX_RESPONSE_BYTES = 64 * 2**20
MAX_RESPONSE_S = 300.0

# The longest export that is written to a file.
MAX_EXPORT_BYTES = 64 * 2**30


class Client(RunRequests, AlertRequests, ProjectRequests, WebhookRequests):
    """A client of one server. Every method raises ServerError if the server refuses a request or does not respond.

    Example:
        >>> client = Client("http://127.0.0.1:7358")
        >>> client.close()
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout_s: float = 30.0) -> None:
        settings = resolve_settings(url=url, api_key=api_key)
        self.url = settings.url
        try:
            self._http = httpx.Client(base_url=settings.url, timeout=timeout_s, **client_options(settings))
        except (ImportError, ValueError) as error:  # its text may hold the proxy's password
            raise SettingsError(f"the proxy of the environment cannot be used ({type(error).__name__})") from None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            with unlogged_request(), self._http.stream(method, path, **options) as response:
                content = _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, UnboundedResponse) as error:
            raise ServerError(printable(unreachable(self.url, error))) from error
        _require_success(response, content)
        return content

    def _receive(self, path: str, write: Callable[[bytes], object]) -> None:
        try:
            with unlogged_request(), self._http.stream("GET", path) as response:
                if not response.is_success:
                    _require_success(response, _read(response))
                for chunk in _csv_chunks(response):
                    write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL, UnboundedResponse) as error:
            raise ServerError(printable(unreachable(self.url, error))) from error


def _read(response: httpx.Response) -> bytes:
    encoding = response.headers.get("content-encoding", "")
    return read_body(response.iter_raw(), encoding, max_bytes=MAX_RESPONSE_BYTES, max_s=MAX_RESPONSE_S)


def _csv_chunks(response: httpx.Response) -> Iterator[bytes]:
    if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise UnboundedResponse("the response is compressed, which was not asked for")
    if not response.headers.get("content-type", "").startswith("text/csv"):
        raise ServerError(NOT_RELUMINE, status=response.status_code)
    received_bytes = 0
    for chunk in response.iter_raw():
        received_bytes += len(chunk)
        if received_bytes > MAX_EXPORT_BYTES:
            raise UnboundedResponse(f"the response is larger than {MAX_EXPORT_BYTES:,} bytes")
        yield chunk


def _require_success(response: httpx.Response, content: bytes) -> None:
    """Raise ServerError, whose message is safe to print, unless the request succeeded."""
    if response.is_success:
        return
    problem = parse_problem(content)
    if problem is None:
        raise ServerError(NOT_RELUMINE, status=response.status_code)
    sentence = printable(f"{problem.title}: {problem.detail}")
    raise ServerError(sentence, status=response.status_code, code=printable(problem.code))
