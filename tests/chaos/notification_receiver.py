"""A receiver of webhooks that answers late, refuses some notifications once, and keeps what it accepted."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class NotificationReceiver(ThreadingHTTPServer):
    """Keeps the delivery ids under which each webhook (a path) received each alert."""

    daemon_threads = True
    request_queue_size = 256
    ANSWER_S: ClassVar = (0.1, 0.8)
    REFUSED_ONCE: ClassVar = 10
    """One notification in so many is refused once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accepted: Counter[str] = Counter()
        """How often each delivery id was accepted."""
        self.delivery_ids: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        """Delivery ids by (path, alert id); a subclass may use other keys."""
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def accept(self, path: str, delivery_id: str, body: bytes) -> bool:
        """Keep a notification unless it is to be refused; return whether it was accepted."""
        with self._lock:
            if int(delivery_id[-8:], 16) % self.REFUSED_ONCE == 0 and delivery_id not in self._refused:
                self._refused.add(delivery_id)
                return False
            self.accepted[delivery_id] += 1
            self.keep(path, delivery_id, body)
            return True

    def keep(self, path: str, delivery_id: str, body: bytes) -> None:
        """Keep the alerts of a notification."""
        for alert in json.loads(body)["data"]["alerts"]:
            self.delivery_ids[path, alert["id"]].add(delivery_id)


class EventReceiver(NotificationReceiver):
    """Keeps the delivery ids by (path, event, alert id), and those of a run's end by (path, event, run id)."""

    EVENTS: ClassVar[list[str]] = ["alert.firing", "alert.resolved", "alert.acknowledged", "run.finished"]
    ANSWER_S: ClassVar = (0.0, 0.05)
    REFUSED_ONCE: ClassVar = 100

    def keep(self, path: str, delivery_id: str, body: bytes) -> None:
        """Keep the event of a notification for each of its alerts, or for its run."""
        document = json.loads(body)
        subjects = [alert["id"] for alert in document["data"]["alerts"]]
        if not subjects:
            subjects = [document["data"]["run"]["run_id"]]
        for subject in subjects:
            self.delivery_ids[path, document["type"], subject].add(delivery_id)


class _Handler(BaseHTTPRequestHandler):
    server: NotificationReceiver

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        body = self.rfile.read(size)
        if len(body) < size:
            return  # the client was killed halfway
        is_accepted = self.server.accept(self.path, self.headers["webhook-id"], body)
        time.sleep(random.uniform(*self.server.ANSWER_S))  # kills meet attempts that are received but not answered
        try:
            self.send_response(204 if is_accepted else 500)
            self.end_headers()
        except OSError:
            return  # the client was killed

    def log_message(self, *_: object) -> None:
        """Log nothing."""
