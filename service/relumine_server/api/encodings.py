"""Content encodings of uploads: identity, gzip and zstd, with a cap on what comes out, whatever a header claims."""

from __future__ import annotations

import io
import zlib

import zstandard

from relumine_server.errors import BodyTooLarge, InvalidUpload, UnsupportedEncoding

ZSTD_WINDOW = 2**23  # memory a frame may ask for, in bytes; the format's own recommendation
CHUNK = 2**20


def decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was encoded.

    Raises BodyTooLarge beyond ``limit`` bytes, without ever making many more; UnsupportedEncoding; InvalidUpload where
    the body is not what it says it is.
    """
    if encoding == "identity":
        return body
    if encoding == "gzip":
        return _gunzip(body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit)
    raise UnsupportedEncoding("known are gzip and zstd")


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip file, one after the other."""
    rest = body
    with io.BytesIO() as out:  # gives its bytes away without copying them, or back at once
        while rest:
            member = zlib.decompressobj(wbits=31)
            try:
                while not member.eof:
                    chunk = member.decompress(rest, CHUNK)
                    rest = member.unconsumed_tail
                    _keep(out, chunk, limit)
                    if not chunk and not rest and not member.eof:
                        raise InvalidUpload("the gzip body ends too early")
            except zlib.error:
                raise InvalidUpload("the body is not gzip") from None
            rest = member.unused_data
        return out.getvalue()


def _unzstd(body: bytes, limit: int) -> bytes:
    """All frames; a frame's own claim of its size is not believed."""
    reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).stream_reader(
        io.BytesIO(body), read_across_frames=True
    )
    with io.BytesIO() as out:
        try:
            while chunk := reader.read(CHUNK):
                _keep(out, chunk, limit)
        except zstandard.ZstdError:
            raise InvalidUpload("the body is not zstd") from None
        return out.getvalue()


def _keep(out: io.BytesIO, chunk: bytes, limit: int) -> None:
    if out.write(chunk) and out.tell() > limit:
        raise BodyTooLarge(f"at most {limit} bytes after decoding")
