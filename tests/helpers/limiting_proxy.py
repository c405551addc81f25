"""A proxy that takes bodies up to a limit, as most do, and answers 413 in a page of its own beyond it."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

PAGE = b"<html><body><h1>413 Request Entity Too Large</h1></body></html>"
FORWARDED = ("content-type", "authorization", "relumine-replayed")


class LimitingProxy:
    """A proxy in front of ``upstream``. ``answers`` counts its responses by status; ``limit`` may change."""

    def __init__(self, upstream: str, limit: int) -> None:
        self.limit = limit
        self.answers: Counter[int] = Counter()
        self.client = httpx.Client(base_url=upstream, timeout=30)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, content = 413, PAGE
                if len(body) <= outer.limit:
                    headers = {name: self.headers[name] for name in FORWARDED if name in self.headers}
                    response = outer.client.post(self.path, content=body, headers=headers)
                    status, content = response.status_code, response.content
                outer.answers[status] += 1
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def limiting_proxy(upstream: str, limit: int) -> Iterator[LimitingProxy]:
    """Run a proxy for the duration of the block."""
    proxy = LimitingProxy(upstream, limit)
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        proxy.client.close()
