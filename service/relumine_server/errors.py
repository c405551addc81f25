"""Problems that callers can meet, as RFC 9457 tells them: each with a status and a stable code.

ProblemError
├── 404  ProjectNotFound, RunNotFound, LayerNotFound, AlertNotFound, UnitsNotFound, WebhookNotFound
├── 409  RunInOtherProject, AlertResolved, WebhookDisabled
├── 413  BodyTooLarge
├── 415  UnsupportedEncoding
├── 422  InvalidUpload, UnknownLayer, WrongUnits, BadCursor, UnknownStatistic, InvalidWebhook,
│        InvalidPolicy
├── 429  Busy
├── 503  NotReady, StorageUnavailable
└── 507  StorageFull
"""

from __future__ import annotations

from typing import ClassVar


class ProblemError(Exception):
    """A problem with an answer of its own. The detail is for people and never repeats input."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title


class ProjectNotFound(ProblemError):
    status, code, title = 404, "project_not_found", "No such project"


class RunNotFound(ProblemError):
    status, code, title = 404, "run_not_found", "No such run"


class LayerNotFound(ProblemError):
    status, code, title = 404, "layer_not_found", "No such layer in this run"


class AlertNotFound(ProblemError):
    status, code, title = 404, "alert_not_found", "No such alert"


class UnitsNotFound(ProblemError):
    status, code, title = 404, "units_not_found", "No per-unit statistics are stored at or before that step"


class WebhookNotFound(ProblemError):
    status, code, title = 404, "webhook_not_found", "No such webhook"


class RunInOtherProject(ProblemError):
    status, code, title = 409, "run_in_other_project", "A run of this id exists in another project"


class AlertResolved(ProblemError):
    status, code, title = 409, "alert_resolved", "The alert is resolved already"


class WebhookDisabled(ProblemError):
    status, code, title = 409, "webhook_disabled", "The webhook is disabled; enable it first"


class BodyTooLarge(ProblemError):
    status, code, title = 413, "body_too_large", "The body is larger than this server takes"


class UnsupportedEncoding(ProblemError):
    status, code, title = 415, "unsupported_encoding", "The content encoding is not supported"


class InvalidUpload(ProblemError):
    status, code, title = 422, "invalid_upload", "The upload does not follow the wire contract"


class UnknownLayer(ProblemError):
    status, code, title = 422, "unknown_layer", "A record names a layer that was never described"


class WrongUnits(ProblemError):
    status, code, title = 422, "wrong_units", "A record has another number of units than its layer"


class BadCursor(ProblemError):
    status, code, title = 422, "bad_cursor", "The cursor is none of this server's"


class UnknownStatistic(ProblemError):
    status, code, title = 422, "unknown_statistic", "There is no such statistic"


class InvalidWebhook(ProblemError):
    status, code, title = 422, "invalid_webhook", "The webhook cannot be used"


class InvalidPolicy(ProblemError):
    status, code, title = 422, "invalid_policy", "These thresholds cannot be used"


class Busy(ProblemError):
    status, code, title = 429, "busy", "The server is busy; try again shortly"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class NotReady(ProblemError):
    status, code, title = 503, "not_ready", "The database is not ready"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class StorageUnavailable(ProblemError):
    status, code, title = 503, "storage_unavailable", "The database is out of reach, or does not take writes"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class StorageFull(ProblemError):
    status, code, title = 507, "storage_full", "The disk of the database is full; reading goes on"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


class UnknownDatabase(Exception):
    """The address names a kind of database that we do not speak to."""


class FileInUse(Exception):
    """Another server process has the SQLite file open."""
