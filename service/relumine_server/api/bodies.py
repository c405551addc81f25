"""Reads the body of a request: never more than allowed, never for longer than allowed, never what is no JSON."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from relumine_server.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, TooManyValues

PIECE = 2**20  # bytes looked at before it is asked whether to go on


async def read(
    receive: Receive, headers: Headers, limit: int, timeout_s: float, take: Callable[[int], None] | None = None
) -> bytes:
    """All of a body; ``take`` is told the size of every piece before it is kept.

    Raises BodyTooLarge, BodyTooSlow, what ``take`` raises, and ClientDisconnect.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise BodyTooLarge(f"at most {limit} bytes")
    try:
        async with asyncio.timeout(timeout_s):
            with io.BytesIO() as kept:  # gives its bytes away without copying them, or back at once
                more = True
                while more:
                    more = await _more(receive, kept, take)
                    if kept.tell() > limit:
                        raise BodyTooLarge(f"at most {limit} bytes")
                return kept.getvalue()
    except TimeoutError:
        raise BodyTooSlow(f"within {timeout_s:g} s") from None


async def _more(receive: Receive, kept: io.BytesIO, take: Callable[[int], None] | None) -> bool:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    piece = message.get("body", b"")
    if take is not None:
        take(len(piece))
    kept.write(piece)
    return bool(message.get("more_body", False))


def check_values(body: bytes, most: int) -> None:
    """Raise TooManyValues where JSON holds more values than so many; a list or an object counts for eight.

    Parsed, a value takes a hundred bytes and an object a thousand, however few it took on the way. Commas in strings
    count, too: better than to parse before it is known whether one should.
    """
    found = 0
    for start in range(0, len(body), PIECE):
        end = start + PIECE
        found += body.count(b",", start, end) + 8 * (body.count(b"[", start, end) + body.count(b"{", start, end))
        if found > most:
            raise TooManyValues(f"at most {most}; columns that are packed count for little")


def check_json(body: bytes) -> None:
    """Raise InvalidRequest for what no JSON is: Python's own parser takes NaN and stumbles over depth and digits."""
    try:
        from_json(body, allow_inf_nan=False, cache_strings="none")
    except (ValueError, RecursionError):
        raise InvalidRequest("body: no JSON, or deeper or with longer numbers than anybody needs") from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body that was read already, and then goes on."""
    message: Message = {"type": "http.request", "body": body, "more_body": False}
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
