"""Problems that callers can meet, as RFC 9457 tells them: each with a status and a stable code.

ProblemError
├── 401  Unauthorized: KeyMissing, KeyUnknown, KeyExpired, KeyRevoked
├── 403  ScopeTooSmall, OtherProject, CrossSite
├── 404  ProjectNotFound, RunNotFound, LayerNotFound, AlertNotFound, UnitsNotFound, SilenceNotFound,
│        WebhookNotFound, DeliveryNotFound, KeyNotFound
├── 408  BodyTooSlow
├── 409  RunInOtherProject, AlertResolved, AlertAcknowledged, WebhookDisabled, DeliveryPending, NothingToTell,
│        FirstKeyMustBeAdmin, LastAdminKey
├── 413  BodyTooLarge, TooManyValues, TooManyRecords, TooManyNumbers
├── 415  UnsupportedEncoding
├── 421  UnknownHost
├── 422  InvalidRequest, InvalidUpload, UnknownLayer, WrongUnits, BadCursor, UnknownStatistic, InvalidWebhook,
│        InvalidPolicy, InvalidKey, InvalidSilence, TooManyLayers, TooManyUnits, TooManyRuns, TooManyProjects
├── 429  Busy, TooManyAttempts, TooManyRequests
├── 503  Overloaded, Stopping, NotReady, StorageUnavailable
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


class Unauthorized(ProblemError):
    """Codes differ only for who holds the whole key; to everybody else they are one."""

    status, title = 401, "A key of this server is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine", error="invalid_token"'}

    def __init__(self) -> None:
        super().__init__("send a valid one as Authorization: Bearer rlm_…; SDK: RELUMINE_API_KEY or api_key=")


class KeyMissing(Unauthorized):
    code = "key_missing"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine"'}


class KeyUnknown(Unauthorized):
    code = "key_unknown"


class KeyExpired(Unauthorized):
    code = "key_expired"


class KeyRevoked(Unauthorized):
    code = "key_revoked"


class ScopeTooSmall(ProblemError):
    status, code, title = 403, "scope_too_small", "The key may not do this"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine", error="insufficient_scope"'}


class OtherProject(ProblemError):
    status, code, title = 403, "other_project", "The key belongs to another project"


class CrossSite(ProblemError):
    status, code, title = 403, "cross_site", "Another site may not do this through a browser"


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


class SilenceNotFound(ProblemError):
    status, code, title = 404, "silence_not_found", "No such silence"


class WebhookNotFound(ProblemError):
    status, code, title = 404, "webhook_not_found", "No such webhook"


class DeliveryNotFound(ProblemError):
    status, code, title = 404, "delivery_not_found", "No such delivery"


class KeyNotFound(ProblemError):
    status, code, title = 404, "key_not_found", "No such key"


class RunInOtherProject(ProblemError):
    status, code, title = 409, "run_in_other_project", "A run of this id exists in another project"


class AlertResolved(ProblemError):
    status, code, title = 409, "alert_resolved", "The alert is resolved already"


class AlertAcknowledged(ProblemError):
    status, code, title = 409, "alert_acknowledged", "Somebody else has acknowledged the alert"


class WebhookDisabled(ProblemError):
    status, code, title = 409, "webhook_disabled", "The webhook is disabled; enable it first"


class DeliveryPending(ProblemError):
    status, code, title = 409, "delivery_pending", "The delivery is still under way"


class NothingToTell(ProblemError):
    status, code, title = 409, "nothing_to_tell", "The delivery was never written, and nothing of it holds any more"


class FirstKeyMustBeAdmin(ProblemError):
    status, code = 409, "first_key_must_be_admin"
    title = "The first key must be an admin key of no project: from then on keys are needed, also to make others"


class LastAdminKey(ProblemError):
    status, code = 409, "last_admin_key"
    title = "This is the last admin key of no project: make another one first"


class BodyTooSlow(ProblemError):
    status, code, title = 408, "body_too_slow", "The body did not arrive in time"
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class BodyTooLarge(ProblemError):
    status, code, title = 413, "body_too_large", "The body is larger than this server takes"


class TooManyValues(ProblemError):
    status, code, title = 413, "too_many_values", "The upload has more JSON values than this server reads at once"


class TooManyRecords(ProblemError):
    status, code, title = 413, "too_many_records", "The upload has more records than this server takes at once"


class TooManyNumbers(ProblemError):
    status, code, title = 413, "too_many_numbers", "The upload has more numbers than this server takes at once"


class UnsupportedEncoding(ProblemError):
    status, code, title = 415, "unsupported_encoding", "The content encoding is not supported"


class UnknownHost(ProblemError):
    status, code, title = 421, "unknown_host", "This server is not known by that name"


class InvalidRequest(ProblemError):
    status, code, title = 422, "invalid_request", "The request is not valid"


class TooManyLayers(ProblemError):
    status, code, title = 422, "too_many_layers", "More layers than this server takes"


class TooManyUnits(ProblemError):
    status, code, title = 422, "too_many_units", "More units than this server takes in a run"


class TooManyRuns(ProblemError):
    status, code, title = 422, "too_many_runs", "The project is full: delete runs, or let them expire"


class TooManyProjects(ProblemError):
    status, code, title = 422, "too_many_projects", "This server takes no more projects"


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


class InvalidKey(ProblemError):
    status, code, title = 422, "invalid_key", "Such a key cannot be made"


class InvalidSilence(ProblemError):
    status, code, title = 422, "invalid_silence", "The silence cannot be set"


class Busy(ProblemError):
    status, code, title = 429, "busy", "The server is busy; try again shortly"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class TooManyAttempts(ProblemError):
    status, code, title = 429, "too_many_attempts", "Too many logins were tried; wait a minute"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}


class TooManyRequests(ProblemError):
    status, code, title = 429, "too_many_requests", "Too many requests by this key or address"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Overloaded(ProblemError):
    status, code, title = 503, "overloaded", "Too many requests at once; try again shortly"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Stopping(ProblemError):
    status, code, title = 503, "stopping", "The server is about to end"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class NotReady(ProblemError):
    status, code, title = 503, "not_ready", "The database is not ready"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class StorageUnavailable(ProblemError):
    status, code, title = 503, "storage_unavailable", "The database is out of reach, or does not take writes"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class StorageFull(ProblemError):
    status, code, title = 507, "storage_full", "The disk of the database is full; reading goes on"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


def _codes(kind: type[ProblemError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


CODES = frozenset(_codes(ProblemError)) | {"not_found", "method_not_allowed", "unsupported_media_type", "http_error"}
"""Whatever a problem may be called: our own, and those of the router."""


class UnknownDatabase(Exception):
    """The address names a kind of database that we do not speak to."""


class NotDistributable(Exception):
    """The database cannot be spread over several hosts: it is no Citus, or not its coordinator."""


class FileInUse(Exception):
    """Another server process has the SQLite file open."""
