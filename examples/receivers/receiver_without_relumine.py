"""A receiver of Relumine's webhooks that needs only the official library of Standard Webhooks.

pip install standardwebhooks
WEBHOOK_SECRET=whsec_… python receiver_without_relumine.py
"""

from __future__ import annotations

import http.server
import os

from standardwebhooks import Webhook

WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])
PORT = int(os.environ.get("PORT", "8000"))
MAX_BODY_BYTES = 1_000_000


class Receiver(http.server.BaseHTTPRequestHandler):
    """Verifies a notification, then acts on it."""

    def do_POST(self) -> None:
        """Handle one notification."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        try:
            notification = WEBHOOK.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except Exception:  # noqa: BLE001 - malformed headers make the library raise more than its own error
            self.respond(401)
            return
        print(notification["type"], notification["data"], flush=True)
        self.respond(204)

    def respond(self, status: int) -> None:
        """Send an empty response with this status."""
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
