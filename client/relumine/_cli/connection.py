"""The connection of a command to its server, and one sentence for each way in which it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relumine._runtime.server_errors import key_hint, key_problem
from relumine.errors import RelumineError, ServerError

if TYPE_CHECKING:
    from relumine.client import Client

SET_URL = "set the address with --url or RELUMINE_URL"


class CommandError(RelumineError):
    """A command cannot go on; the message is printed."""


@contextmanager
def connected(url: str | None) -> Iterator[Client]:
    """Yield a client of the server. Raises CommandError with the address and what helps."""
    from relumine._runtime.settings import resolve_settings
    from relumine.client import Client

    settings = resolve_settings(url=url)
    has_key = settings.api_key is not None or settings.basic_auth is not None
    with Client(url) as client:
        try:
            yield client
        except ServerError as error:
            raise CommandError(explanation(error, settings.url, has_key=has_key)) from error


def explanation(error: ServerError, url: str, *, has_key: bool) -> str:
    """Return what is wrong between this machine and a server, and the command or setting that helps."""
    from relumine._runtime.http import NOT_RELUMINE

    if str(error) == NOT_RELUMINE:
        return f"{url} is not a Relumine server: {error}; {SET_URL}."
    if error.status == 401:
        return f"{key_problem(url, error.code, has_key=has_key)}. {key_hint('read', has_key=has_key)}"
    if error.code == "insufficient_scope":
        return f"{url} does not let this API key read. Set RELUMINE_API_KEY to a key of scope read or admin."
    if error.status:
        return f"{url}: {error}"
    return f"{str(error).rstrip('.')}. Start a server there with `relumine serve`, or {SET_URL}."
