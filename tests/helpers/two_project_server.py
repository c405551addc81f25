"""A server with a clock that is set by hand, called with API keys by their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from relumine_server.app import create_app
from relumine_server.db.database import Database
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

UNITS = 4
NOTE = {"author": "Ada", "note": "on it"}


@dataclass
class TwoProjectServer:
    """A server with a clock that is set by hand, its API keys by name, and ids of its resources."""

    database_url: str
    settings: dict = field(default_factory=dict)
    now: datetime = datetime(2026, 6, 1, tzinfo=UTC)
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    database: Database | None = None

    def __post_init__(self):
        settings = Settings(database_url=self.database_url, **self.settings)
        self.app = create_app(settings, database=self.database, clock=lambda: self.now)
        self.send = caller(self.app)

    def call(self, method, path, key=None, **options):
        """Send a request with the key of this name; return the response."""
        headers = {} if key is None else {"authorization": f"Bearer {self.keys.get(key, key)}"}
        return self.send(method, path, headers={**headers, **options.pop("headers", {})}, **options)

    def create_key(self, name, scope, project=None, *, by="admin", **more):
        """Create a key over HTTP and remember it by its name; return the response's JSON."""
        body = {"scope": scope, "project": project, "name": name, **more}
        response = self.call("POST", "/v1/keys", by if self.keys else None, json=body)
        assert response.status_code == 201, response.text
        created = response.json()
        self.keys[name] = created["key"]
        self.ids[name] = created["key_id"]
        return created

    def cancelled_delivery(self, webhook):
        """Return the id of a delivery of this webhook that was cancelled and can be sent again."""
        delivery = self.call("POST", f"{webhook}/test", "admin").json()
        for enabled in (False, True):
            self.call("PATCH", webhook, "admin", json={"enabled": enabled})
        return delivery["delivery_id"]


def upload(project, run, seq=1):
    """Return an upload whose layer is born dead, so that there is an alert."""
    record = {"layer_id": 1, "n_examples": 100, "active": [0] * UNITS}
    return {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(10 * seq, 10 * seq + 5)],
    }
