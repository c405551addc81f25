"""Every setting of the server: a ``RELUMINE_*`` variable each, listed in docs/settings.md. No side effects."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relumine.wire import MAX_LAYERS, MAX_NUMBERS, MAX_RECORDS
from relumine_server.names import is_address, is_name, url_problem
from relumine_server.webhooks.allowed import Allowed, allowed

LONGEST_S = 10 * 366 * 86_400.0
MAX_DAYS, MAX_CONNECTIONS = 36_500, 10**6
LARGEST = 2**60  # of what has no limit by its nature: both databases count so far, and sums of a few, too


class Settings(BaseSettings):
    """The server's settings, read from the environment; arguments win."""

    model_config = SettingsConfigDict(env_prefix="RELUMINE_", extra="ignore")

    database_url: Annotated[str, Field(description="SQLite file or Postgres.")] = "sqlite:///relumine.db"
    host: Annotated[str, Field(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535, description="Port to listen on.")] = 7358
    public_url: Annotated[
        str | None, Field(description="How people reach the server; links in alerts begin with it.")
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="What is logged, on standard error.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Field(description="Lines for people or for programs.")] = "text"
    workers: Annotated[
        int, Field(ge=1, le=64, description="Processes that serve one port; more than one needs Postgres.")
    ] = 1
    drain_s: Annotated[
        float, Field(ge=0, le=300, description="How long /readyz says no before a server that ends closes its port.")
    ] = 0.0

    max_body_bytes: Annotated[
        int,
        Field(ge=1024, le=LARGEST, description="Largest upload in bytes, as it is sent and as it is after decoding."),
    ] = 16 * 2**20
    max_request_bytes: Annotated[
        int, Field(ge=1024, le=LARGEST, description="Largest body of any other request, in bytes.")
    ] = 256 * 2**10
    max_intake_bytes: Annotated[
        int, Field(ge=2**20, le=LARGEST, description="Bytes of uploads that may be under way at once; beyond it: 429.")
    ] = 256 * 2**20
    max_values_per_upload: Annotated[
        int, Field(ge=100, le=LARGEST, description="JSON values of an upload; objects and lists count for eight each.")
    ] = 300_000
    max_layers_per_upload: Annotated[int, Field(ge=1, le=MAX_LAYERS, description="Layers that an upload names.")] = (
        MAX_LAYERS
    )
    max_records_per_upload: Annotated[int, Field(ge=1, le=MAX_RECORDS, description="Records of an upload.")] = (
        MAX_RECORDS
    )
    max_numbers_per_upload: Annotated[int, Field(ge=1, le=MAX_NUMBERS, description="Logged numbers of an upload.")] = (
        MAX_NUMBERS
    )
    max_units_per_run: Annotated[int, Field(ge=1, le=LARGEST, description="Units of all layers of a run together.")] = (
        4 * 10**6
    )
    max_layers_per_run: Annotated[int, Field(ge=1, le=LARGEST, description="Layers of a run.")] = 10_000
    max_layers_per_project: Annotated[int, Field(ge=1, le=LARGEST, description="Layers of all runs of a project.")] = (
        1_000_000
    )
    max_runs_per_project: Annotated[int, Field(ge=1, le=LARGEST, description="Runs of a project.")] = 100_000
    max_projects: Annotated[int, Field(ge=1, le=LARGEST, description="Projects of this server.")] = 10_000
    requests_per_second: Annotated[
        int,
        Field(ge=0, le=LARGEST, description="Of one key or address, over ten seconds, in each process; 0: any number."),
    ] = 500
    max_requests_at_once: Annotated[
        int, Field(ge=1, le=36, description="Requests worked on at once beside uploads; others wait, then: 503.")
    ] = 32
    max_connections: Annotated[int, Field(ge=8, le=MAX_CONNECTIONS, description="Open connections of a process.")] = (
        1000
    )
    header_timeout_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="How long the head of a request may take.")
    ] = 10.0
    body_timeout_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="How long the body of a request may take.")
    ] = 30.0
    send_timeout_s: Annotated[
        float,
        Field(gt=0, le=LONGEST_S, description="How long a client may take nothing of an answer before it is cut off."),
    ] = 30.0
    min_free_bytes: Annotated[
        int,
        Field(ge=0, le=LARGEST, description="Free space beside a SQLite file below which /readyz says no, in bytes."),
    ] = 64 * 2**20
    insecure_no_auth: Annotated[
        bool, Field(description="Ask nobody for a key, whatever the address and whether there are keys or not.")
    ] = False
    first_key: Annotated[
        bool, Field(description="Where there never was a key, make an admin key at the start and print it, once.")
    ] = False
    allowed_hosts: Annotated[
        str, Field(description="Further names that the server may be reached by, with commas; * for any.")
    ] = ""
    login_hours: Annotated[int, Field(ge=1, le=8760, description="How long a browser stays logged in.")] = 168
    webhook_allow_loopback: Annotated[
        bool, Field(description="Let webhooks go to this machine, and there by plain http.")
    ] = False
    webhook_allow: Annotated[
        str, Field(description="Hosts and networks that webhooks may go to although they are not public, by commas.")
    ] = ""
    webhook_timeout_s: Annotated[float, Field(gt=0, le=20, description="How long a receiver may take to answer.")] = (
        15.0
    )
    courier: Annotated[
        bool, Field(description="Send deliveries from the process that serves; without it run relumine-server courier.")
    ] = True
    courier_poll_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="How often a courier looks for what other processes wrote.")
    ] = 1.0
    courier_concurrency: Annotated[
        int, Field(ge=1, le=256, description="Attempts that a courier has under way at once.")
    ] = 16
    group_wait_s: Annotated[
        float, Field(ge=0, le=3600, description="How long news of a run is gathered; what a new webhook begins with.")
    ] = 30.0
    delivery_log_days: Annotated[
        int,
        Field(ge=1, le=MAX_DAYS, description="How long what was sent, or given up, stays in the log of deliveries."),
    ] = 30

    stalled_after_s: Annotated[
        float,
        Field(gt=0, le=LONGEST_S, description="A run that reports nothing for so long is suspected to have stalled."),
    ] = 600.0
    stalled_grace_s: Annotated[
        float,
        Field(ge=0, le=LONGEST_S, description="How long a suspicion (`stalled`, `no_data`) waits before it is told."),
    ] = 300.0
    repeat_after_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="An alert that nobody answers is told again after so long.")
    ] = 4 * 3600.0
    sweep_every_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="How often the clock looks at runs and alerts.")
    ] = 10.0

    unit_bytes_per_run: Annotated[
        int,
        Field(
            ge=2**16, le=LARGEST, description="Per-unit statistics that a run keeps before they are thinned, in bytes."
        ),
    ] = 128 * 2**20
    unit_rows_every: Annotated[
        int, Field(ge=2, le=LARGEST, description="Of thinned rows every so-many-th is kept.")
    ] = 10
    expire_days: Annotated[
        int | None, Field(ge=1, le=MAX_DAYS, description="Runs that ended longer ago are deleted; empty: never.")
    ] = None
    upkeep_every_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="How often the database is looked after.")
    ] = 10.0

    @field_validator("public_url", "expire_days", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, text: str | None) -> str | None:
        if text is not None and (problem := url_problem(text)):
            raise ValueError(problem)
        return text

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, text: str) -> str:
        for entry in filter(None, map(str.strip, text.split(","))):
            if not (entry == "*" or is_name(entry) or is_address(entry.strip("[]"))):
                raise ValueError(f"{entry!r} is neither a name in ASCII, without a port, nor * alone")
        return text

    @field_validator("webhook_allow")
    @classmethod
    def _readable(cls, text: str) -> str:
        allowed(text, loopback=False)  # a mistyped network is a mistake to hear of at the start
        return text

    @property
    def webhook_allowed(self) -> Allowed:
        """Where webhooks may go beyond https to public addresses."""
        return allowed(self.webhook_allow, loopback=self.webhook_allow_loopback)

    @property
    def hosts(self) -> list[str]:
        """The names in ``allowed_hosts``."""
        return [name for entry in self.allowed_hosts.split(",") if (name := entry.strip(" []").lower().rstrip("."))]

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def base_url(self) -> str:
        """Where links point to, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
