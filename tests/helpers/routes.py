"""Every route of the OpenAPI document, and a valid body for each route that needs one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.helpers.two_project_server import NOTE, upload

ENDS_AT = (datetime.now(UTC) + timedelta(days=7)).isoformat()
POLICY = {"thresholds": {"nats": 12}}
BODIES = {
    ("POST", "/v1/uploads"): upload("ours", "run-ours", 2),
    ("PUT", "/v1/projects/{project}/retention"): {
        "unit_stats_bytes_per_run": 2**20,
        "unit_stats_keep_every": 5,
        "run_retention_days": None,
    },
    ("PUT", "/v1/projects/{project}/policy"): POLICY,
    ("POST", "/v1/policy/backtest"): {"project": "ours", **POLICY},
    ("PATCH", "/v1/runs/{run_id}"): {"name": "x"},
    ("POST", "/v1/alerts/{alert_id}/acknowledge"): NOTE,
    ("POST", "/v1/alerts/{alert_id}/resolve"): NOTE,
    ("POST", "/v1/incidents/{incident_id}/acknowledge"): NOTE,
    ("POST", "/v1/incidents/{incident_id}/resolve"): NOTE,
    ("POST", "/v1/webhooks"): {"url": "https://new.example/hook", "project": "ours"},
    ("PATCH", "/v1/webhooks/{webhook_id}"): {"events": ["alert.firing"]},
    ("POST", "/v1/silences"): {"matchers": {"project": "ours", "kind": "none"}, "ends_at": ENDS_AT, "author": "Ada"},
    ("POST", "/v1/keys"): {"scope": "read", "project": "ours"},
}


def routes(app):
    """Return the routes of the OpenAPI document as (method, path): reads first, deletions last."""
    documented = app.openapi()["paths"]
    pairs = [(method.upper(), path) for path, operations in documented.items() for method in operations]
    return sorted(pairs, key=lambda route: (route[0] == "DELETE", route[0] != "GET", route[1].endswith("resolve")))
