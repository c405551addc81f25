"""Reads, decompresses and checks request bodies, within limits of size and time."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Callable

import zstandard
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from relumine_server.errors import (
    BodyTimeout,
    BodyTooLarge,
    InvalidRequest,
    InvalidUpload,
    TooManyValues,
    UnsupportedEncoding,
)

SCAN_CHUNK = 2**20  # bytes that are scanned before the count is compared with the limit
DECODE_CHUNK = 2**20
FEED_WINDOW = 2**16  # bytes of a gzip body that zlib is given at once
MAX_PARTS = 1024  # gzip members or zstd frames of a body; one is usual, and tools that work in parallel write some
ZSTD_WINDOW = 2**23  # bytes of memory that a frame may ask for; the format's own recommendation
ZSTD_MAGICS = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")
"""Bytes that every frame begins with, and that are in the beginning of every skippable frame."""
CONTAINER_VALUES = 8  # a list or an object takes as much memory as so many values
NOT_COUNTED = bytes(set(range(256)) - set(b",[{"))


async def read_body(
    receive: Receive,
    headers: Headers,
    limit: int,
    timeout_s: float,
    *,
    reserve: Callable[[int], None] | None = None,
) -> bytes:
    """Read the whole body. ``reserve`` is called with the size of every part before it is kept, and may raise.

    Raises BodyTooLarge beyond ``limit`` bytes, BodyTimeout, ClientDisconnect, and what ``reserve`` raises.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise BodyTooLarge(f"at most {limit} bytes are accepted")
    try:
        async with asyncio.timeout(timeout_s):
            # BytesIO returns its content without a copy, and frees it at once.
            with io.BytesIO() as body:
                more = True
                while more:
                    more = await _read_part(receive, body, reserve)
                    if body.tell() > limit:
                        raise BodyTooLarge(f"at most {limit} bytes are accepted")
                return body.getvalue()
    except TimeoutError:
        raise BodyTimeout(f"the body must arrive within {timeout_s:g} s") from None


async def _read_part(receive: Receive, body: io.BytesIO, reserve: Callable[[int], None] | None) -> bool:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    part = message.get("body", b"")
    if reserve is not None:
        reserve(len(part))
    body.write(part)
    return bool(message.get("more_body", False))


def count_values(body: bytes, limit: int) -> int:
    """Return how many values JSON holds at most; a list or an object counts for eight.

    Parsed, a value takes a hundred bytes of memory and an object a thousand, however short they are as text. Commas
    within strings count, too: it is better to count too many than to parse first.

    Raises TooManyValues beyond ``limit``.
    """
    count = 0
    for start in range(0, len(body), SCAN_CHUNK):
        # One pass leaves the few bytes that are counted; to look for each of them takes as long again for each.
        counted = body[start : start + SCAN_CHUNK].translate(None, NOT_COUNTED)
        commas = counted.count(b",")
        count += commas + CONTAINER_VALUES * (len(counted) - commas)
        if count > limit:
            raise TooManyValues(f"at most {limit} JSON values are accepted; packed columns need far fewer")
    return count


def check_json(body: bytes) -> None:
    """Raise InvalidRequest if a body is not JSON.

    Python's own parser would accept NaN, and fail on deep nesting and on long numbers.
    """
    try:
        from_json(body, allow_inf_nan=False, cache_strings="none")
    except (ValueError, RecursionError):
        raise InvalidRequest(
            "the request body is not valid JSON, or exceeds the limit of nesting or of the length of a number"
        ) from None


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that first returns a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo the content encoding of a body: identity, gzip or zstd.

    Raises BodyTooLarge beyond ``limit`` bytes, without producing many more, whatever size a header claims;
    UnsupportedEncoding; InvalidUpload if the body is not in its encoding.
    """
    if encoding == "identity":
        return body
    if encoding == "gzip":
        return _gunzip(body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit)
    raise UnsupportedEncoding("only gzip and zstd are supported")


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decompress all members of a gzip file, one after the other."""
    view = memoryview(body)
    start = members = 0
    with io.BytesIO() as out:
        while start < len(body):
            members += 1
            _check_parts(members)
            try:
                start = _gunzip_member(view, start, out, limit)
            except zlib.error:
                raise InvalidUpload("the body is not gzip") from None
        return out.getvalue()


def _gunzip_member(body: memoryview, start: int, out: io.BytesIO, limit: int) -> int:
    """Decompress the member that begins at ``start``; return where it ends.

    It is fed in windows: zlib copies what follows the end of a member, which must not be the whole rest of the body.
    """
    member = zlib.decompressobj(wbits=31)
    rest: bytes | memoryview = b""
    while not member.eof:
        if not rest:
            rest = body[start : start + FEED_WINDOW]
            start += len(rest)
        chunk = member.decompress(rest, DECODE_CHUNK)
        _write(out, chunk, limit)
        if not chunk and not rest and not member.eof:
            raise InvalidUpload("the gzip body is truncated")
        rest = member.unconsumed_tail
    return start - len(member.unused_data)


def _unzstd(body: bytes, limit: int) -> bytes:
    """Decompress all frames. The size that a frame declares is not trusted."""
    _check_parts(sum(body.count(magic) for magic in ZSTD_MAGICS))
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    reader = decompressor.stream_reader(io.BytesIO(body), read_across_frames=True)
    with io.BytesIO() as out:
        try:
            while chunk := reader.read(DECODE_CHUNK):
                _write(out, chunk, limit)
        except zstandard.ZstdError:
            raise InvalidUpload("the body is not zstd") from None
        return out.getvalue()


def _check_parts(number: int) -> None:
    """Raise InvalidUpload beyond ``MAX_PARTS``: an empty part costs time, and no limit of size ever meets it."""
    if number > MAX_PARTS:
        raise InvalidUpload(f"a body may have at most {MAX_PARTS} gzip members or zstd frames")


def _write(out: io.BytesIO, chunk: bytes, limit: int) -> None:
    if out.write(chunk) and out.tell() > limit:
        raise BodyTooLarge(f"at most {limit} bytes are accepted after decompression")
