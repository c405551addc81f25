"""Compressed uploads are decompressed, never beyond the size limit."""

from __future__ import annotations

import gc
import gzip
import json
import secrets
import struct
import tracemalloc
import zlib

import pytest
import zstandard

from relumine_server.api import request_body
from relumine_server.api.request_body import decompress
from relumine_server.app import create_app
from relumine_server.errors import BodyTooLarge, InvalidUpload, UnsupportedEncoding
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

LIMIT = 2**20
BODY = json.dumps({"run": {"id": "r1"}, "session": "s1", "seq": 1}).encode()


def zstd(body, **options):
    return zstandard.ZstdCompressor(**options).compress(body)


def zstd_with_wrong_size(body):
    """Return a frame whose header claims eight bytes."""
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(body))
    size = zstandard.frame_content_size(bytes(frame))
    offset = bytes(frame).index(struct.pack("<I", size))
    frame[offset : offset + 4] = struct.pack("<I", 8)
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
def test_a_compressed_body_is_decompressed(name):
    encoding, body = ENCODED[name]
    assert decompress(body, encoding, LIMIT) == BODY


BOMBS = {
    "gzip": ("gzip", lambda: gzip.compress(bytes(100 * LIMIT))),
    "gzip of many members": ("gzip", lambda: gzip.compress(bytes(LIMIT // 2)) * 100),
    "zstd": ("zstd", lambda: zstd(bytes(100 * LIMIT))),
    "zstd without its size": ("zstd", lambda: zstd(bytes(100 * LIMIT), write_content_size=False)),
    "zstd of many frames": ("zstd", lambda: zstd(bytes(LIMIT // 2)) * 100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_at_the_limit_and_takes_little_memory(name):
    encoding, create = BOMBS[name]
    body = create()
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        decompress(body, encoding, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * LIMIT


MANY = 100_000
EMPTY_GZIP = gzip.compress(b"")
EMPTY_PARTS = {
    "gzip members": ("gzip", EMPTY_GZIP * MANY),
    "gzip members with names": (
        "gzip",
        (EMPTY_GZIP[:3] + b"\x08" + EMPTY_GZIP[4:10] + b"n\0" + EMPTY_GZIP[10:]) * MANY,
    ),
    "gzip members before the body": ("gzip", EMPTY_GZIP * MANY + gzip.compress(BODY)),
    "gzip members after the body": ("gzip", gzip.compress(BODY) + EMPTY_GZIP * MANY),
    "gzip members of one byte": ("gzip", gzip.compress(b" ") * MANY),
    "zstd frames": ("zstd", zstd(b"") * MANY),
    "zstd frames without their size": ("zstd", zstd(b"", write_content_size=False) * MANY),
    "zstd skippable frames": ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0" * MANY),
    "zstd skippable frames after the body": ("zstd", zstd(BODY) + b"\x5f\x2a\x4d\x18\0\0\0\0" * MANY),
}


@pytest.mark.parametrize("name", EMPTY_PARTS)
def test_a_body_of_many_members_or_frames_is_refused(name):
    encoding, body = EMPTY_PARTS[name]
    with pytest.raises(InvalidUpload, match=f"at most {request_body.MAX_PARTS}"):
        decompress(body, encoding, len(body))


def test_zlib_is_never_given_more_than_a_window_of_a_body(monkeypatch):
    sizes = []

    class Member:
        def __init__(self, wbits):
            self._member = zlib_decompressobj(wbits=wbits)

        def decompress(self, data, max_length):
            sizes.append(len(data))
            return self._member.decompress(data, max_length)

        def __getattr__(self, name):
            return getattr(self._member, name)

    zlib_decompressobj = zlib.decompressobj
    monkeypatch.setattr(request_body.zlib, "decompressobj", Member)
    content = secrets.token_bytes(LIMIT)
    body = b"".join(gzip.compress(content[start : start + 2**18]) for start in range(0, LIMIT, 2**18))
    assert decompress(body, "gzip", LIMIT) == content
    assert max(sizes) <= request_body.FEED_WINDOW


@pytest.mark.parametrize("size", [0, 1, request_body.FEED_WINDOW, 3 * request_body.DECODE_CHUNK])
@pytest.mark.parametrize("level", [0, 9])
def test_members_are_joined_wherever_a_window_ends(size, level):
    content = bytes(size)
    member = gzip.compress(content, level)
    assert decompress(member * 3, "gzip", 3 * size + 1) == content * 3
    for cut in (1, 8, 9):
        with pytest.raises(InvalidUpload):
            decompress((member * 3)[:-cut], "gzip", 3 * size + 1)


def wide_zstd(body):
    """Return a frame that needs a window of 128 MiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(body) + stream.flush()


HOSTILE = {
    "not gzip": ("gzip", b"\x00" * 40),
    "gzip that is cut off": ("gzip", gzip.compress(BODY)[:-9]),
    "gzip followed by garbage": ("gzip", gzip.compress(BODY) + b"garbage"),
    "zlib as gzip": ("gzip", zlib.compress(BODY)),
    "not zstd": ("zstd", b"\x00" * 40),
    "zstd with a wrong size": ("zstd", zstd_with_wrong_size(bytes(70_000))),
    "zstd with a huge window": ("zstd", wide_zstd(bytes(2**20))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_that_does_not_match_its_encoding_is_refused(name):
    encoding, body = HOSTILE[name]
    with pytest.raises(InvalidUpload):
        decompress(body, encoding, LIMIT)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "", "x"])
def test_other_encodings_are_unsupported(encoding):
    with pytest.raises(UnsupportedEncoding):
        decompress(BODY, encoding, LIMIT)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(BODY), 202),
        ("ZSTD", zstd(BODY), 202),
        ("gzip", gzip.compress(bytes(2 * LIMIT)), 413),
        ("zstd", b"none", 422),
        ("br", BODY, 415),
    ],
    ids=["gzip", "zstd", "gzip bomb", "invalid zstd", "brotli"],
)
def test_uploads_over_http_are_decompressed_or_refused(encoding, body, status, database_url):
    app = create_app(Settings(database_url=database_url, max_body_bytes=LIMIT))
    response = caller(app)("POST", "/v1/uploads", content=body, headers={"content-encoding": encoding})
    app.state.services.database.close()
    assert response.status_code == status


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b" " * 8 * LIMIT, "invalid_upload"),
        (b"[" + b"0," * 4 * LIMIT + b"0]", "too_many_values"),
        (b" " * 9 * LIMIT, "body_too_large"),
    ],
    ids=["invalid", "too many values", "too large"],  # the content as an id would not fit into the environment
)
def test_a_refused_body_is_freed(content, code, new_database):
    app = create_app(Settings(database_url=new_database("sqlite"), max_body_bytes=8 * LIMIT + 16))
    send = caller(app)
    refused = {"content": gzip.compress(content), "headers": {"content-encoding": "gzip"}}
    assert send("POST", "/v1/uploads", **refused).json()["code"] == code
    gc.collect()
    gc.disable()  # a reference cycle would keep the body until the next collection
    tracemalloc.start()
    for _ in range(3):
        send("POST", "/v1/uploads", **refused)
    send("GET", "/v1/runs")  # in the thread that decoded: it has let go of the body by then
    allocated, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.enable()
    app.state.services.database.close()
    assert allocated < 4 * LIMIT
