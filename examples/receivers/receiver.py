"""A receiver of Relumine's webhooks that verifies them with the SDK.

    WEBHOOK_SECRET=whsec_… python receiver.py

Responds with 2xx only to requests signed with the secret. While it is rotated, give both: ``whsec_old,whsec_new``.
"""

from __future__ import annotations

import http.server
import os

import relumine
from relumine.webhooks import WebhookVerificationError

SECRETS = os.environ["WEBHOOK_SECRET"].split(",")
PORT = int(os.environ.get("PORT", "8000"))
MAX_BODY_BYTES = 1_000_000

handled: set[str] = set()  # a real receiver stores these: a notification may be delivered twice


class Receiver(http.server.BaseHTTPRequestHandler):
    """Verifies a notification, then acts on it."""

    def do_POST(self) -> None:
        """Handle one notification."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        try:
            notification = relumine.verify_webhook(self.headers, body, SECRETS)
        except WebhookVerificationError as problem:
            self.respond(401, str(problem))
            return
        if self.headers["webhook-id"] not in handled:
            handled.add(self.headers["webhook-id"])
            act(notification)
        self.respond(204)

    def respond(self, status: int, text: str = "") -> None:
        """Send the response. Send it soon: work that takes long belongs into a queue."""
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def act(notification: dict[str, object]) -> None:
    """Act on a notification."""
    print(notification["type"], notification["data"], flush=True)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
