"""The settings of the server: one ``RELUMINE_*`` variable each. No side effects.

The table in ``docs/settings.md`` is generated from this module by ``python -m relumine_server.cli.settings_table``.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relumine.schemas.record import MAX_RECORDS
from relumine.schemas.upload import MAX_LAYERS, MAX_METRICS
from relumine_server.database_url import DEFAULT as DEFAULT_DATABASE_URL
from relumine_server.net.allowlist import TargetAllowlist, parse_allowlist
from relumine_server.net.clients import TrustedProxies, parse_proxies
from relumine_server.net.hostnames import base_url_problem, is_address, is_name

MAX_SECONDS = 10 * 366 * 86_400.0
MAX_DAYS = 36_500
MAX_CONNECTIONS = 10**6
MAX_COUNT = 2**60  # of what has no natural limit: both databases count that far, and sums of a few of them, too

Bytes: TypeAlias = Annotated[int, Field(ge=1024, le=MAX_COUNT)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Days: TypeAlias = Annotated[int, Field(ge=1, le=MAX_DAYS)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class Settings(BaseSettings):
    """The settings of the server, read from the environment; arguments win."""

    model_config = SettingsConfigDict(env_prefix="RELUMINE_", extra="ignore", use_attribute_docstrings=True)

    database_url: str = DEFAULT_DATABASE_URL
    """SQLite file or Postgres database (`postgresql+psycopg://…`)"""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """address to listen on"""
    port: Annotated[int, Field(ge=0, le=65_535)] = 7358
    """port to listen on (7358 spells RELU); 0 for any free port"""
    public_url: str | None = None
    """URL that people use to reach the server; links in alerts begin with it. Default: host and port"""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """level of the log on standard error: debug, info, warning or error"""
    log_format: Literal["text", "json"] = "text"
    """`text` for people, `json` for one JSON object per line"""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """processes that serve one port (also `serve --workers`); more than one needs Postgres"""
    drain_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    """seconds between SIGTERM and closing the port; `/readyz` answers 503 meanwhile, for load balancers to drain"""
    min_free_bytes: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 64 * 2**20
    """free space beside a SQLite file below which `/readyz` answers 503"""

    insecure_no_auth: bool = False
    """require no API key, whatever the address, even if keys exist; see [keys.md](keys.md#when-a-key-is-required)"""
    bootstrap_key: bool = False
    """create an admin key at the first start and print it once, on standard output, if no key was ever created; see
    [keys.md](keys.md#the-first-key)"""
    allowed_hosts: str = ""
    """further host names that the server answers to, separated by commas; `*` for any"""
    trusted_proxies: str = ""
    """addresses and networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are used, separated
    by commas: `127.0.0.1, 10.0.0.0/8`; from others these headers are ignored"""
    session_hours: Annotated[int, Field(ge=1, le=8760)] = 168
    """hours for which a browser stays logged in"""

    webhook_allow_loopback: bool = False
    """allow webhooks to loopback, also by plain http, and to other addresses of this machine in allowed networks"""
    webhook_allowed_targets: str = ""
    """hosts and networks that webhooks may reach although they are not public, also by plain http:
    `alertmanager.local, 10.0.0.0/8, fd12:3456::/32`; an address of this machine must be listed by itself or by its
    host name"""
    webhook_timeout_s: Annotated[float, Field(gt=0, le=20)] = 15.0
    """seconds for one delivery attempt, from name resolution to the end of the response; at most 20"""
    dispatcher: bool = True
    """send notifications from the server process; otherwise run `relumine-server worker`"""
    dispatcher_poll_s: Seconds = 1.0
    """seconds between two checks of the outbox for deliveries that other processes wrote"""
    dispatcher_concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    """delivery attempts in flight at once"""
    group_wait_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """seconds for which notifications of a run are grouped after the first one; the default of a new webhook"""
    delivery_retention_days: Days = 30
    """days for which deliveries stay in the delivery log"""

    stall_timeout_s: Seconds = 600.0
    """seconds without an upload after which a run counts as stalled; longer for a run with longer pauses of its own"""
    pending_for_s: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = 300.0
    """seconds for which an alert of kind `stalled` or `no_data` is pending before it fires"""
    repeat_interval_s: Seconds = 4 * 3600.0
    """seconds after which the notification of an unacknowledged alert is repeated"""
    ended_resolve_after_s: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = 24 * 3600.0
    """seconds after the end of a run at which the run's open alerts are resolved for an Alertmanager"""
    evaluation_interval_s: Seconds = 10.0
    """seconds between two evaluations of the rules that depend on the clock"""

    unit_stats_bytes_per_run: Annotated[int, Field(ge=2**16, le=MAX_COUNT)] = 128 * 2**20
    """bytes of per-unit statistics that a run keeps before they are thinned; a project may set its own"""
    unit_stats_keep_every: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 10
    """thinning keeps one of this many rows of per-unit statistics"""
    run_retention_days: Annotated[int | None, Field(ge=1, le=MAX_DAYS)] = None
    """days after its end at which a run is deleted; empty for never"""
    maintenance_interval_s: Seconds = 10.0
    """seconds between two rounds of maintenance: compaction, thinning, expiry"""

    max_body_bytes: Bytes = 16 * 2**20
    """largest upload, before and after decompression; beyond it 413 `body_too_large`, and the SDK splits the upload"""
    max_request_bytes: Bytes = 256 * 2**10
    """largest body of any other request; beyond it 413 `body_too_large`"""
    max_inflight_upload_bytes: Annotated[int, Field(ge=2**20, le=MAX_COUNT)] = 256 * 2**20
    """most bytes of uploads in flight in one process; beyond it 429 `busy`"""
    max_values_per_upload: Annotated[int, Field(ge=100, le=MAX_COUNT)] = 300_000
    """most JSON values of an upload, each of which takes up to a thousand bytes while it is read; an object or a list
    counts as eight, a packed column as very few; beyond it 413 `too_many_values`"""
    max_records_per_upload: Annotated[int, Field(ge=1, le=MAX_RECORDS)] = MAX_RECORDS
    """most records of an upload; cannot be raised; beyond it 413 `too_many_records`"""
    max_metrics_per_upload: Annotated[int, Field(ge=1, le=MAX_METRICS)] = MAX_METRICS
    """most logged metrics of an upload; cannot be raised; beyond it 413 `too_many_metrics`"""
    max_layers_per_upload: Annotated[int, Field(ge=1, le=MAX_LAYERS)] = MAX_LAYERS
    """most layers that an upload describes; cannot be raised; beyond it 422 `too_many_layers`"""
    max_layers_per_run: Count = 10_000
    """most layers of a run; beyond it 422 `too_many_layers`"""
    max_units_per_run: Count = 4 * 10**6
    """most units of all layers of a run; the detector keeps up to 32 bytes of each; beyond it 422 `too_many_units`"""
    max_layers_per_project: Count = 1_000_000
    """most layers of all runs of a project; beyond it 422 `too_many_layers`"""
    max_runs_per_project: Count = 100_000
    """most runs of a project; beyond it 422 `too_many_runs`"""
    max_projects: Count = 10_000
    """most projects; beyond it 422 `too_many_projects`"""
    requests_per_second: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 500
    """requests per second of one key, averaged over ten seconds in each process, or of one address (IPv6: one /64
    network) without a valid key; 0 for no limit; beyond it 429 `too_many_requests`"""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=36)] = 32
    """requests handled at once beside uploads; others wait for up to two seconds; beyond it 503 `overloaded`"""
    max_connections: Annotated[int, Field(ge=8, le=MAX_CONNECTIONS)] = 1000
    """most open connections of a process; beyond it an idle connection of the address with the most is closed; if none
    is idle, 503 `too_many_connections`, except to `/livez` and `/readyz`"""
    max_connections_per_address: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = 0
    """most open connections of one address (IPv6: one /64 network) in a process, except of trusted proxies; 0 for no
    limit; beyond it an idle connection of the address is closed; if none is idle, 503 `too_many_connections`"""
    header_timeout_s: Seconds = 10.0
    """seconds for the headers of a request, which may have 64 KiB (431 `headers_too_large`); beyond it 408
    `header_timeout`"""
    body_timeout_s: Seconds = 30.0
    """seconds for the body of a request; beyond it 408 `body_timeout`"""
    send_timeout_s: Seconds = 30.0
    """seconds for which a client may read nothing of a response; beyond it the connection is closed"""

    @field_validator("public_url", "run_retention_days", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, text: str | None) -> str | None:
        if text is not None and (problem := base_url_problem(text)):
            raise ValueError(problem)
        return text

    @field_validator("allowed_hosts")
    @classmethod
    def _check_host_names(cls, text: str) -> str:
        for entry in filter(None, map(str.strip, text.split(","))):
            if not (entry == "*" or is_name(entry) or is_address(entry.strip("[]"))):
                raise ValueError(f"{entry!r} is neither an ASCII host name without a port nor a single *")
        return text

    @field_validator("webhook_allowed_targets")
    @classmethod
    def _check_targets(cls, text: str) -> str:
        parse_allowlist(text, loopback=False)  # a mistyped network is reported at the start
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, text: str) -> str:
        parse_proxies(text)
        return text

    @property
    def proxies(self) -> TrustedProxies:
        """The proxies whose forwarding headers are believed."""
        return parse_proxies(self.trusted_proxies)

    @property
    def webhook_targets(self) -> TargetAllowlist:
        """The targets that webhooks may reach beyond https to public addresses."""
        return parse_allowlist(self.webhook_allowed_targets, loopback=self.webhook_allow_loopback)

    @property
    def hosts(self) -> list[str]:
        """The names in ``allowed_hosts``, in lower case."""
        names = (entry.strip(" []").lower().rstrip(".") for entry in self.allowed_hosts.split(","))
        return [name for name in names if name]

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the address."""
        if self.host == "localhost":
            return True
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def base_url(self) -> str:
        """The URL that links begin with, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
