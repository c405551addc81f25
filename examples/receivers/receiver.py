"""A receiver of Relumine's webhooks, with the SDK's own check.

    WEBHOOK_SECRET=whsec_… python receiver.py

Answers 2xx only to what was signed with the secret. While a secret is exchanged, name both: ``whsec_old,whsec_new``.
"""

from __future__ import annotations

import http.server
import os

import relumine
from relumine.webhooks import WebhookVerificationError

SECRETS = os.environ["WEBHOOK_SECRET"].split(",")
PORT = int(os.environ.get("PORT", "8000"))
MAX_BODY_BYTES = 1_000_000

seen: set[str] = set()  # a real receiver keeps these: what is delivered at least once may come twice


class Receiver(http.server.BaseHTTPRequestHandler):
    """Checks, then acts."""

    def do_POST(self) -> None:
        """One notification."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        try:
            notification = relumine.verify_webhook(self.headers, body, SECRETS)
        except WebhookVerificationError as problem:
            self.answer(401, str(problem))
            return
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            act(notification)
        self.answer(204)

    def answer(self, status: int, text: str = "") -> None:
        """Answer soon: what takes long belongs into a queue of your own."""
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def act(notification: dict[str, object]) -> None:
    """Whatever is to be done."""
    print(notification["type"], notification["data"], flush=True)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
