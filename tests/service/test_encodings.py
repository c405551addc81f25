"""Encoded uploads are read, and no header makes the server unpack more than its cap."""

from __future__ import annotations

import gc
import gzip
import json
import struct
import tracemalloc
import zlib

import pytest
import zstandard
from live_server import caller

from relumine_server.api.encodings import decoded
from relumine_server.app import create_app
from relumine_server.errors import BodyTooLarge, InvalidUpload, UnsupportedEncoding
from relumine_server.settings import Settings

LIMIT = 2**20
BODY = json.dumps({"run": {"id": "r1"}, "session": "s1", "seq": 1}).encode()


def zstd(body, **options):
    return zstandard.ZstdCompressor(**options).compress(body)


def lying_zstd(body):
    """A frame whose header claims eight bytes."""
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(body))
    size = zstandard.frame_content_size(bytes(frame))
    at = bytes(frame).index(struct.pack("<I", size))
    frame[at : at + 4] = struct.pack("<I", 8)
    return bytes(frame)


ENCODED = {
    "identity": ("identity", BODY),
    "gzip": ("gzip", gzip.compress(BODY)),
    "gzip of two members": ("gzip", gzip.compress(BODY[:20]) + gzip.compress(BODY[20:])),
    "zstd": ("zstd", zstd(BODY)),
    "zstd without its size": ("zstd", zstd(BODY, write_content_size=False)),
    "zstd of two frames": ("zstd", zstd(BODY[:20]) + zstd(BODY[20:])),
}


@pytest.mark.parametrize("name", ENCODED)
def test_what_was_encoded_comes_out(name):
    encoding, body = ENCODED[name]
    assert decoded(body, encoding, LIMIT) == BODY


BOMBS = {
    "gzip": ("gzip", lambda: gzip.compress(bytes(100 * LIMIT))),
    "gzip of many members": ("gzip", lambda: gzip.compress(bytes(LIMIT // 2)) * 100),
    "zstd": ("zstd", lambda: zstd(bytes(100 * LIMIT))),
    "zstd without its size": ("zstd", lambda: zstd(bytes(100 * LIMIT), write_content_size=False)),
    "zstd of many frames": ("zstd", lambda: zstd(bytes(LIMIT // 2)) * 100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_the_cap_and_little_more_is_ever_made(name):
    encoding, make = BOMBS[name]
    body = make()
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        decoded(body, encoding, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * LIMIT


def wide_zstd(body):
    """A frame that asks for 128 MiB to be unpacked in."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(body) + stream.flush()


HOSTILE = {
    "gzip that is none": ("gzip", b"\x00" * 40),
    "gzip that is torn": ("gzip", gzip.compress(BODY)[:-9]),
    "gzip with garbage behind": ("gzip", gzip.compress(BODY) + b"garbage"),
    "zlib as gzip": ("gzip", zlib.compress(BODY)),
    "zstd that is none": ("zstd", b"\x00" * 40),
    "zstd that lies about its size": ("zstd", lying_zstd(bytes(70_000))),
    "zstd with a huge window": ("zstd", wide_zstd(bytes(2**20))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_what_it_says_is_refused(name):
    encoding, body = HOSTILE[name]
    with pytest.raises(InvalidUpload):
        decoded(body, encoding, LIMIT)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "", "x"])
def test_other_encodings_are_unsupported(encoding):
    with pytest.raises(UnsupportedEncoding):
        decoded(BODY, encoding, LIMIT)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(BODY), 202),
        ("ZSTD", zstd(BODY), 202),
        ("gzip", gzip.compress(bytes(2 * LIMIT)), 413),
        ("zstd", b"none", 422),
        ("br", BODY, 415),
    ],
)
def test_over_http(encoding, body, status, database_url):
    app = create_app(Settings(database_url=database_url, max_body_bytes=LIMIT))

    answer = caller(app)("POST", "/v1/uploads", content=body, headers={"content-encoding": encoding})
    app.state.store.close()
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b" " * 8 * LIMIT, "invalid_upload"),
        (b"[" + b"0," * 4 * LIMIT + b"0]", "too_many_values"),
        (b" " * 9 * LIMIT, "body_too_large"),
    ],
)
def test_a_body_that_was_refused_is_held_by_nothing(content, code, new_database):
    app = create_app(Settings(database_url=new_database("sqlite"), max_body_bytes=8 * LIMIT + 16))
    send, packed = caller(app), gzip.compress(content)
    refused = {"content": packed, "headers": {"content-encoding": "gzip"}}
    assert send("POST", "/v1/uploads", **refused).json()["code"] == code
    gc.collect()
    gc.disable()  # a circle would be broken some time, and the body be held till then
    tracemalloc.start()
    for _ in range(3):
        send("POST", "/v1/uploads", **refused)
    held, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.enable()
    app.state.store.close()
    assert held < 4 * LIMIT
