"""Problems that callers can meet, each with an HTTP status, a stable code and a title: its docstring (RFC 9457)."""

from __future__ import annotations

from typing import ClassVar


class ProblemError(Exception):
    """Internal error."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[dict[str, str]] = {}

    def __init_subclass__(
        cls, *, status: int | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        """Set status, code and title of a problem. What is not given is inherited, with a status the title as well."""
        super().__init_subclass__()
        if code is not None:
            cls.code = code
        if status is not None:
            cls.status = status
            cls.title = (cls.__doc__ or "").splitlines()[0].removesuffix(".")
        if retry_after_s is not None:
            cls.headers = {"Retry-After": str(retry_after_s)}

    def __init__(self, detail: str = "") -> None:
        """Create a problem. ``detail`` is for people and must not repeat input; it defaults to the title."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title


class Unauthorized(ProblemError, status=401):
    """An API key is required.

    The codes of its subclasses tell a caller more only if it presents a whole key that once existed.
    """

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine", error="invalid_token"'}

    def __init__(self) -> None:
        super().__init__(
            "send a valid API key as Authorization: Bearer rlm_…; in the SDK, set RELUMINE_API_KEY or api_key="
        )


class KeyMissing(Unauthorized, code="key_missing"):
    """No API key was sent."""

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine"'}


class KeyUnknown(Unauthorized, code="key_unknown"):
    """The API key does not exist."""


class KeyExpired(Unauthorized, code="key_expired"):
    """The API key has expired."""


class KeyRevoked(Unauthorized, code="key_revoked"):
    """The API key was revoked."""


class InsufficientScope(ProblemError, status=403, code="insufficient_scope"):
    """The scope of the key is insufficient."""

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="relumine", error="insufficient_scope"'}


class ProjectForbidden(ProblemError, status=403, code="project_forbidden"):
    """The key belongs to another project."""


class CrossSiteRequest(ProblemError, status=403, code="cross_site_request"):
    """Cross-site requests from a browser are not allowed."""


class ProjectNotFound(ProblemError, status=404, code="project_not_found"):
    """No such project."""


class RunNotFound(ProblemError, status=404, code="run_not_found"):
    """No such run."""


class LayerNotFound(ProblemError, status=404, code="layer_not_found"):
    """No such layer in this run."""


class AlertNotFound(ProblemError, status=404, code="alert_not_found"):
    """No such alert."""


class UnitsNotFound(ProblemError, status=404, code="units_not_found"):
    """No per-unit statistics are stored at or before that step."""


class SilenceNotFound(ProblemError, status=404, code="silence_not_found"):
    """No such silence."""


class WebhookNotFound(ProblemError, status=404, code="webhook_not_found"):
    """No such webhook."""


class DeliveryNotFound(ProblemError, status=404, code="delivery_not_found"):
    """No such delivery."""


class KeyNotFound(ProblemError, status=404, code="key_not_found"):
    """No such key."""


class IncidentNotFound(ProblemError, status=404, code="incident_not_found"):
    """No such incident."""


class IncidentResolved(ProblemError, status=409, code="incident_resolved"):
    """No alert of the incident is open."""


class AlertResolved(ProblemError, status=409, code="alert_resolved"):
    """The alert is resolved already."""


class AlertAcknowledged(ProblemError, status=409, code="alert_acknowledged"):
    """The alert is already acknowledged by another person."""


class WebhookDisabled(ProblemError, status=409, code="webhook_disabled"):
    """The webhook is disabled; enable it first."""


class NothingToDeliver(ProblemError, status=409, code="nothing_to_deliver"):
    """There is nothing left to deliver: none of its alerts is open any more."""


class FirstKeyMustBeAdmin(ProblemError, status=409, code="first_key_must_be_admin"):
    """The first key must be an admin key of all projects, because every request needs a key from then on."""


class LastAdminKey(ProblemError, status=409, code="last_admin_key"):
    """This is the last admin key of all projects: create another one first."""


class BodyTimeout(ProblemError, status=408, code="body_timeout"):
    """The body did not arrive in time."""

    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class BodyTooLarge(ProblemError, status=413, code="body_too_large"):
    """The body is larger than this server accepts."""


class TooManyValues(ProblemError, status=413, code="too_many_values"):
    """The upload has more JSON values than this server accepts."""


class TooManyRecords(ProblemError, status=413, code="too_many_records"):
    """The upload has more records than this server accepts."""


class TooManyMetrics(ProblemError, status=413, code="too_many_metrics"):
    """The upload has more metrics than this server accepts."""


class UnsupportedEncoding(ProblemError, status=415, code="unsupported_encoding"):
    """The content encoding is not supported."""


class UnknownHost(ProblemError, status=421, code="unknown_host"):
    """This server does not answer to that host name; RELUMINE_ALLOWED_HOSTS lists further names."""


class InvalidRequest(ProblemError, status=422, code="invalid_request"):
    """The request is not valid."""


class TooManyLayers(ProblemError, status=422, code="too_many_layers"):
    """More layers than this server accepts."""


class TooManyUnits(ProblemError, status=422, code="too_many_units"):
    """More units than this server accepts in a run."""


class TooManyRuns(ProblemError, status=422, code="too_many_runs"):
    """The project has reached its limit of runs: delete runs, or set a retention."""


class TooManyProjects(ProblemError, status=422, code="too_many_projects"):
    """This server accepts no more projects."""


class InvalidUpload(ProblemError, status=422, code="invalid_upload"):
    """The upload does not follow the wire format."""


class UnknownLayer(ProblemError, status=422, code="unknown_layer"):
    """A record names a layer that was never described."""


class UnitCountMismatch(ProblemError, status=422, code="unit_count_mismatch"):
    """The number of units of a record differs from that of its layer."""


class InvalidCursor(ProblemError, status=422, code="invalid_cursor"):
    """The cursor is not valid for this list."""


class UnknownStatistic(ProblemError, status=422, code="unknown_statistic"):
    """There is no such statistic."""


class InvalidWebhook(ProblemError, status=422, code="invalid_webhook"):
    """The webhook is not valid."""


class InvalidPolicy(ProblemError, status=422, code="invalid_policy"):
    """The thresholds are not valid."""


class InvalidKey(ProblemError, status=422, code="invalid_key"):
    """The key cannot be created."""


class InvalidSilence(ProblemError, status=422, code="invalid_silence"):
    """The silence is not valid."""


class Busy(ProblemError, status=429, code="busy", retry_after_s=1):
    """The server is busy; try again shortly."""


class TooManyAttempts(ProblemError, status=429, code="too_many_attempts", retry_after_s=60):
    """Too many logins; wait a minute."""


class TooManyRequests(ProblemError, status=429, code="too_many_requests", retry_after_s=1):
    """Too many requests by this key or address."""


class Overloaded(ProblemError, status=503, code="overloaded", retry_after_s=1):
    """Too many requests at once; try again shortly."""


class Stopping(ProblemError, status=503, code="stopping", retry_after_s=5):
    """The server is shutting down."""


class NotReady(ProblemError, status=503, code="not_ready", retry_after_s=5):
    """The database is not ready."""


class StorageUnavailable(ProblemError, status=503, code="storage_unavailable", retry_after_s=5):
    """The database cannot be reached, or accepts no writes."""


class StorageOutage(StorageUnavailable):
    """The database cannot be reached, or accepts no writes.

    In contrast to its base class, this concerns every caller: the database is away, not busy.
    """


class StorageFull(ProblemError, status=507, code="storage_full", retry_after_s=30):
    """The disk of the database is full; reading still works."""


def _codes(problem: type[ProblemError]) -> set[str]:
    codes = {problem.code}
    for subclass in problem.__subclasses__():
        codes |= _codes(subclass)
    return codes


ROUTER_CODES = {"not_found", "method_not_allowed", "unsupported_media_type", "http_error"}
CODES = frozenset(_codes(ProblemError) | ROUTER_CODES)
"""All problem codes: of the classes above, and of the router."""


class UnknownDatabaseError(Exception):
    """The URL names a kind of database that is not supported."""


class NotDistributableError(Exception):
    """The database cannot be distributed over several hosts: not Citus, or not its coordinator."""


class FileInUseError(Exception):
    """Another server process has the SQLite file open."""
