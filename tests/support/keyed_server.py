"""A server whose clock is moved by hand, asked with keys by their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from live_server import caller

from relumine_server.app import create_app
from relumine_server.settings import Settings

UNITS = 4
NOTE = {"author": "Ada", "note": "on it"}


@dataclass
class House:
    """A server whose clock is moved by hand, and its keys by name."""

    database_url: str
    settings: dict = field(default_factory=dict)
    now: datetime = datetime(2026, 6, 1, tzinfo=UTC)
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.app = create_app(Settings(database_url=self.database_url, **self.settings), clock=lambda: self.now)
        self.send = caller(self.app)

    def call(self, method, path, key=None, **options):
        """A request with the key of this name."""
        headers = {} if key is None else {"authorization": f"Bearer {self.keys.get(key, key)}"}
        return self.send(method, path, headers={**headers, **options.pop("headers", {})}, **options)

    def make(self, name, scope, project=None, *, by="admin", **more):
        """A key, made over HTTP and remembered by name."""
        asked = {"scope": scope, "project": project, "name": name, **more}
        answer = self.call("POST", "/v1/keys", by if self.keys else None, json=asked)
        assert answer.status_code == 201, answer.text
        self.keys[name], self.ids[name] = answer.json()["key"], answer.json()["key_id"]
        return answer.json()

    def called_off(self, webhook):
        """The id of a delivery of this webhook that was called off and can be sent again."""
        probe = self.call("POST", f"{webhook}/test", "admin").json()
        for enabled in (False, True):
            self.call("PATCH", webhook, "admin", json={"enabled": enabled})
        return probe["delivery_id"]


def upload(project, run, seq=1):
    """An upload whose layer is born dead, so that there is an alert."""
    record = {"layer_id": 1, "n_examples": 100, "active": [0] * UNITS}
    return {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(10 * seq, 10 * seq + 5)],
    }
