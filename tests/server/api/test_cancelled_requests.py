"""A server that stops cancels requests that take too long: their clients learn that they should send them again."""

from __future__ import annotations

import asyncio
import json

import pytest

from relumine_server.api.middleware.request_context import RequestContextMiddleware
from relumine_server.metrics import Metrics


def answers_to_a_cancelled_request(application):
    """Return the messages that a client gets where its request is cancelled while the application works on it."""
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run():
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        task = asyncio.create_task(RequestContextMiddleware(application, metrics=Metrics())(scope, receive, send))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return messages


def test_a_cancelled_request_is_answered_with_503():
    async def application(scope, receive, send):
        await asyncio.Event().wait()

    start, body = answers_to_a_cancelled_request(application)
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"5"
    assert json.loads(body["body"])["code"] == "stopping"


def test_half_of_a_response_is_not_followed_by_another():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    (start,) = answers_to_a_cancelled_request(application)
    assert start["status"] == 200
