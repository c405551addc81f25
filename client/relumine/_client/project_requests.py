"""Requests about projects, their policies and retention, and about API keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relumine._client.requests import Requests, parsed, quoted, without_none
from relumine.schemas.key import CurrentSession, Key
from relumine.schemas.policy import Backtest, Policy
from relumine.schemas.retention import RetentionSettings
from relumine.schemas.run import Project
from relumine.schemas.scope import Scope
from relumine.schemas.server import ServerInfo

# The server runs the detector twice over thousands of records before its response begins.
BACKTEST_TIMEOUT_S = 120.0


class ProjectRequests(Requests):
    """Projects, their settings, and the keys of the server."""

    def projects(self) -> Iterator[Project]:
        """Return all projects."""
        return self._items("/v1/projects", Project)

    def policy(self, project: str) -> Policy:
        """Return the detector's thresholds that are in force in a project."""
        return self._get(f"/v1/projects/{quoted(project)}/policy", Policy)

    def set_policy(self, project: str, thresholds: Mapping[str, float]) -> Policy:
        """Replace a project's own thresholds; those left out return to their defaults."""
        return self._put(f"/v1/projects/{quoted(project)}/policy", Policy, {"thresholds": dict(thresholds)})

    def backtest(
        self, project: str, thresholds: Mapping[str, float], *, run_ids: Sequence[str] | None = None, limit: int = 20
    ) -> Backtest:
        """Compare these thresholds with those in force, on stored runs. It may take a minute."""
        body: dict[str, Any] = {"project": project, "thresholds": dict(thresholds), "limit": limit}
        if run_ids is not None:
            body["run_ids"] = list(run_ids)
        content = self._send("POST", "/v1/policy/backtest", json=body, timeout=BACKTEST_TIMEOUT_S)
        return parsed(Backtest, content)

    def retention(self, project: str) -> RetentionSettings:
        """Return how long the server stores the runs of a project, and how much of each."""
        return self._get(f"/v1/projects/{quoted(project)}/retention", RetentionSettings)

    def set_retention(
        self,
        project: str,
        *,
        unit_stats_bytes_per_run: int,
        unit_stats_keep_every: int,
        run_retention_days: int | None,
    ) -> RetentionSettings:
        """Replace the retention of a project; it is applied within a minute. None keeps runs for good."""
        body = {
            "unit_stats_bytes_per_run": unit_stats_bytes_per_run,
            "unit_stats_keep_every": unit_stats_keep_every,
            "run_retention_days": run_retention_days,
        }
        return self._put(f"/v1/projects/{quoted(project)}/retention", RetentionSettings, body)

    def keys(self) -> Iterator[Key]:
        """Return all API keys in the order of their creation, expired and revoked ones included."""
        return self._items("/v1/keys", Key)

    def create_key(
        self, scope: Scope, *, project: str | None = None, name: str | None = None, expires_at: datetime | None = None
    ) -> Key:
        """Create an API key; the result contains the secret as ``key``, once.

        The first key must be an admin key of all projects. From then on every request needs a key.
        """
        expiry = None if expires_at is None else expires_at.isoformat()
        body = without_none({"scope": scope, "project": project, "name": name, "expires_at": expiry})
        return self._post("/v1/keys", Key, body)

    def revoke_key(self, key_id: str) -> None:
        """Revoke an API key; servers refuse it within two seconds."""
        self._send("DELETE", f"/v1/keys/{key_id}")

    def server(self) -> ServerInfo:
        """Return the version, the database and the figures of the server; only for an admin key of all projects."""
        return self._get("/v1/server", ServerInfo)

    def session(self) -> CurrentSession:
        """Return the rights of this client's key, and whether the server requires a key."""
        return self._get("/v1/session", CurrentSession)
