"""Requests that are sent before the response to an earlier one are answered one after the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest
from uvicorn.server import ServerState

from relumine_server.server import pipelines, run
from relumine_server.settings import Settings

NUMBERS = range(3)


class Held:
    """A request that is answered only when it is released."""

    def __init__(self):
        self.started = asyncio.Event()
        self.released = asyncio.Event()


class Application:
    """Notes which requests it starts, and holds some of them by their path."""

    def __init__(self):
        self.started = []
        self.running = 0
        self.most_running = 0
        self.held = {}

    def hold(self, path):
        self.held[path] = Held()
        return self.held[path]

    async def __call__(self, scope, receive, send):
        self.started.append(scope["path"])
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        if scope["path"] in self.held:
            self.held[scope["path"]].started.set()
            await self.held[scope["path"]].released.wait()
        for _ in range(5):  # as a request that waits for a thread
            await asyncio.sleep(0)
        self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@asynccontextmanager
async def connected(application, number):
    """Serve the application; yield connections to it."""
    config = run.uvicorn_config(application, Settings())
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    new_protocol = config.http_protocol_class
    server = await loop.create_server(lambda: new_protocol(config, state, {}, loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
    try:
        yield connections
    finally:
        for _reader, writer in connections:
            writer.close()
        server.close()
        await server.wait_closed()


def send(connection, *paths):
    connection[1].write(b"".join(b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode() for path in paths))


async def read_responses(connection, number=1):
    for _ in range(number):
        await connection[0].readuntil(b"\r\n\r\n")


async def wait_for_arrival(client):
    """Return when the server has read what was sent so far on any connection."""
    send(client, "/last")
    await read_responses(client)


def paths_of(name):
    return [f"/{name}{number}" for number in NUMBERS]


def test_of_all_pipelines_one_request_is_answered_at_a_time_and_the_connections_take_turns():
    async def scene():
        application = Application()
        held = application.hold("/a0")
        async with connected(application, 4) as (*pipelines, client):
            for connection, name in zip(pipelines, "abc", strict=True):
                send(connection, *paths_of(name))
                await held.started.wait()
            await wait_for_arrival(client)
            application.started.remove("/last")
            application.most_running = 1
            held.released.set()
            for connection in pipelines:
                await read_responses(connection, len(NUMBERS))
        return application

    application = asyncio.run(scene())
    assert application.most_running == 1
    assert application.started == [f"/{name}{number}" for number in NUMBERS for name in "abc"]


def test_all_pipelines_rest_after_each_response_for_longer_than_it_took(monkeypatch):
    async def scene():
        loop = asyncio.get_running_loop()
        timers = []
        now = [100.0]
        monkeypatch.setattr(loop, "time", lambda: now[0])
        monkeypatch.setattr(loop, "call_later", lambda delay, function: timers.append((delay, function)) or Mock())
        turns = pipelines.PipelineTurns()
        first = Mock()
        second = Mock()
        turns.wait(first)
        turns.wait(second)
        assert first.start_request.call_count == 1
        now[0] += 0.25
        turns.end(first)
        turns.wait(first)  # its next request
        assert second.start_request.call_count == 0
        rest_s, end_of_rest = timers[-1]
        assert rest_s == 0.25 * pipelines.RESTS
        end_of_rest()
        assert (first.start_request.call_count, second.start_request.call_count) == (1, 1)
        monkeypatch.undo()

    asyncio.run(scene())


def test_a_client_that_waits_for_its_response_is_answered_beside_a_pipeline():
    async def scene():
        application = Application()
        held = application.hold("/a0")
        async with connected(application, 3) as (pipeline, other_pipeline, client):
            send(pipeline, *paths_of("a"))
            await held.started.wait()
            send(other_pipeline, *paths_of("b"))
            for _ in NUMBERS:
                send(client, "/client")
                await read_responses(client)
            assert application.started == ["/a0", *["/client"] * len(NUMBERS)]
            held.released.set()
            await read_responses(other_pipeline, len(NUMBERS))

    asyncio.run(scene())


def test_a_request_that_takes_long_does_not_hold_up_the_other_pipelines(monkeypatch):
    monkeypatch.setattr(pipelines, "MAX_TURN_S", 0.01)

    async def scene():
        application = Application()
        held = application.hold("/a0")
        async with connected(application, 2) as (slow, other):
            send(slow, *paths_of("a"))
            await held.started.wait()
            send(other, *paths_of("b"))
            await read_responses(other, len(NUMBERS))
            held.released.set()
            await read_responses(slow, len(NUMBERS))

    asyncio.run(scene())


@pytest.mark.parametrize("loses_turn", [True, False])
def test_the_others_go_on_when_a_connection_with_a_pipeline_is_lost(loses_turn):
    async def scene():
        application = Application()
        held = application.hold("/a0")
        async with connected(application, 4) as (first, second, third, client):
            send(first, *paths_of("a"))
            await held.started.wait()
            send(second, *paths_of("b"))
            send(third, *paths_of("c"))
            await wait_for_arrival(client)
            lost, other = (first, second) if loses_turn else (second, first)
            lost[1].transport.abort()
            await wait_for_arrival(client)
            held.released.set()
            await read_responses(other, len(NUMBERS))
            await read_responses(third, len(NUMBERS))

    asyncio.run(scene())
