"""What surrounds a body that comes in chunks is bounded like headers: sizes and extensions of chunks, and trailers."""

from __future__ import annotations

import asyncio
import itertools
import resource
import socket
from collections import deque

import httpx
import pytest
from uvicorn.server import ServerState

from relumine_server.server import protocol, run
from relumine_server.settings import Settings
from tests.helpers.live_server import listening

HEAD = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
BODY = b"2\r\n{}\r\n"
BLOCK = 60_000
ENDLESS = {
    "short trailers": (HEAD + BODY + b"0\r\n", b"x: y\r\n" * 10_000),
    "long trailers": (HEAD + BODY + b"0\r\n", b"x: " + b"y" * BLOCK + b"\r\n"),
    "one trailer": (HEAD + BODY + b"0\r\nx: ", b"y" * BLOCK),
    "one name of a trailer": (HEAD + BODY + b"0\r\n", b"y" * BLOCK),
    "trailers without a body": (HEAD + b"0\r\n", b"x: y\r\n" * 10_000),
    "a size of a chunk": (HEAD, b"0" * BLOCK),
    "an extension of a chunk": (HEAD + BODY + b"2;a=", b"y" * BLOCK),
    "an extension of the last chunk": (HEAD + BODY + b"0;a=", b"y" * BLOCK),
    "trailers of a body that is not read": (HEAD.replace(b"/v1/uploads", b"/none") + b"0\r\n", b"x: y\r\n" * 10_000),
    "trailers of a GET": (HEAD.replace(b"POST", b"GET") + b"0\r\n", b"x: y\r\n" * 10_000),
}
MAX_BLOCKS = 2_000
MAX_GROWTH_KIB = 32 * 1024


@pytest.mark.parametrize("name", ENDLESS)
def test_a_connection_ends_whose_chunks_or_trailers_do_not(new_database, name):
    head, block = ENDLESS[name]
    with listening(new_database("sqlite")) as url:
        assert httpx.get(f"{url}/livez").status_code == 200
        start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        content = itertools.chain([head], itertools.repeat(block, MAX_BLOCKS))
        with socket.create_connection(address, timeout=60) as connection, pytest.raises(ConnectionError):
            deque(map(connection.sendall, content), maxlen=0)
        assert httpx.get(f"{url}/livez").status_code == 200
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib < MAX_GROWTH_KIB


def exchange(content):
    """Send a request to an application that reads its body; return the headers and the body that it sees."""
    seen = {}

    async def application(scope, receive, send):
        message = {"more_body": True}
        body = b""
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        seen.update(headers=list(scope["headers"]), body=body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def scene():
        config = run.uvicorn_config(application, Settings())
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        factory = config.http_protocol_class
        async with await loop.create_server(lambda: factory(config, state, {}, loop), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in content:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scene())
    return seen["headers"], seen["body"]


def test_a_trailer_is_no_header():
    headers, body = exchange([HEAD + BODY + b"0\r\nauthorization: Bearer x\r\nx-forwarded-for: 1.2.3.4\r\n\r\n"])
    assert {name for name, _ in headers} == {b"host", b"transfer-encoding"}
    assert body == b"{}"


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_body_in_small_chunks_is_read_however_many_there_are(size):
    count = protocol.MAX_HEADER_BYTES // size
    chunks = [b"%x;name=value\r\n%s\r\n" % (size, b"x" * size)] * (3 * count)
    _, body = exchange([HEAD, b"".join(chunks), b"0\r\n\r\n"])
    assert body == b"x" * 3 * count * size
