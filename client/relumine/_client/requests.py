"""The common part of all requests of ``relumine.Client``: answers become models, lists are read page by page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from relumine._runtime.http import NOT_RELUMINE
from relumine.errors import ServerError
from relumine.schemas.base import Page, View

ViewT = TypeVar("ViewT", bound=View)

# The longest page of a list that the server gives.
MAX_PAGE = 200

# Pages without an item in a row, after which a list is taken for endless.
MAX_EMPTY_PAGES = 100


class Requests(ABC):
    """Sends requests and returns their answers as models."""

    @abstractmethod
    def _send(self, method: str, path: str, **options: Any) -> bytes:
        """Send a request; return the body of its response. Raises ServerError, whose message is safe to print."""

    @abstractmethod
    def _receive(self, path: str, write: Callable[[bytes], object]) -> None:
        """Pass on the body of a response as it arrives. Raises ServerError."""

    def _get(self, path: str, view: type[ViewT], **query: Any) -> ViewT:
        return parsed(view, self._send("GET", path, params=without_none(query)))

    def _post(self, path: str, view: type[ViewT], body: Mapping[str, Any]) -> ViewT:
        return parsed(view, self._send("POST", path, json=dict(body)))

    def _put(self, path: str, view: type[ViewT], body: Mapping[str, Any]) -> ViewT:
        return parsed(view, self._send("PUT", path, json=dict(body)))

    def _write(self, path: str, file_path: str | Path) -> None:
        """Write the body of a response to a new file; the file of a request that fails is deleted."""
        target = Path(file_path)
        with target.open("xb") as file:
            try:
                self._receive(path, file.write)
            except BaseException:
                target.unlink(missing_ok=True)
                raise

    def _items(self, path: str, view: type[ViewT], **query: Any) -> Iterator[ViewT]:
        cursor: str | None = None
        empty_pages = 0
        while True:
            page = self._get(path, Page[dict[str, Any]], cursor=cursor, **query)
            yield from (parsed(view, item) for item in page.items)
            empty_pages = 0 if page.items else empty_pages + 1
            cursor = page.next_cursor
            if cursor is None:
                return
            if empty_pages >= MAX_EMPTY_PAGES:
                raise ServerError(NOT_RELUMINE)


def parsed(view: type[ViewT], content: bytes | dict[str, Any]) -> ViewT:
    """Return an answer as a model. Raises ServerError where it is none."""
    try:
        return view.model_validate_json(content) if isinstance(content, bytes) else view.model_validate(content)
    except ValueError as error:
        raise ServerError(NOT_RELUMINE) from error


def quoted(part: str) -> str:
    """Return a name as one segment of a path."""
    return quote(part, safe="")


def without_none(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that have a value."""
    return {name: value for name, value in query.items() if value is not None}
