"""One upload to one server and its answer. Knows HTTP; decides nothing about retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relumine.views import Accepted, Problem

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
NO_WAY_IN = {
    401: "without a valid API key the server takes nothing",
    403: "the API key may not send uploads of this project",
    421: "the server does not answer to this name",
}
"""What the training can do nothing about, and somebody else can: uploads wait for it, and are tried again meanwhile."""


class TransportError(Exception):
    """An upload that was not accepted. ``retryable`` says whether the same upload can succeed later.

    ``too_large`` ones may succeed in parts; of ``pending`` ones the answer is still awaited.
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
    """Where uploads go."""

    def post(self, body: bytes) -> Accepted:
        """Hand over one encoded upload. Raises TransportError."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class HttpTransport:
    """Posts to a Relumine server over one kept-alive connection. Used by the sender's thread alone."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = f"{url}/v1/uploads"
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._client: httpx.Client | None = None

    def post(self, body: bytes) -> Accepted:
        """Post once. Raises TransportError."""
        import httpx  # noqa: PLC0415 - loaded by the sender's thread, never by `import relumine`

        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT_S, headers=self._headers)
        try:
            response = self._client.post(self._url, content=body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise TransportError(f"{type(error).__name__}: {error}", retryable=True) from error
        if response.status_code != httpx.codes.ACCEPTED:
            raise _refusal(response)
        try:
            return Accepted.model_validate_json(response.content)
        except ValueError as error:
            raise TransportError("the answer is none of a Relumine server", retryable=True) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _refusal(response: httpx.Response) -> TransportError:
    """Why it was not accepted, in the server's words where it has some."""
    try:
        problem = Problem.model_validate_json(response.content)
        said = NO_WAY_IN.get(response.status_code)
        reason = f"{problem.code}: {problem.detail}" if said is None else f"{problem.code}: {said}; {problem.detail}"
    except ValueError:
        reason = "the answer is none of a Relumine server"
    after = response.headers.get("retry-after", "")
    return TransportError(
        f"{response.status_code} {reason}",
        retryable=response.status_code in RETRYABLE
        or response.status_code in NO_WAY_IN
        or not 400 <= response.status_code < 500,
        retry_after_s=float(after) if after.isdigit() and len(after) < 6 else None,
        too_large=response.status_code == 413,
    )
