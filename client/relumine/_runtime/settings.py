"""Settings of the SDK: arguments first, then ``RELUMINE_*`` variables, then defaults. No side effects."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast, get_args
from urllib.parse import SplitResult, unquote, urlsplit

from relumine._runtime.launcher import Process
from relumine.errors import SettingsError

Mode: TypeAlias = Literal["online", "local", "offline", "disabled"]

DEFAULT_URL = "http://127.0.0.1:7358"  # 7358 spells RELU on a telephone
DEFAULT_DIR = ".relumine"
MAX_RUN_ID_LENGTH = 64
ALONE = Process()


class BasicAuth(NamedTuple):
    """The name and password that a URL held."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings of one monitor. ``url`` is without credentials: those it held are ``basic_auth``."""

    url: str
    api_key: str | None = field(repr=False)
    basic_auth: BasicAuth | None = field(repr=False)
    mode: Mode
    run_id: str | None
    directory: Path
    rank: int
    world_size: int


def resolve_settings(
    *,
    url: str | None = None,
    api_key: str | None = None,
    mode: str | None = None,
    run_id: str | int | None = None,
    process: Process = ALONE,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Resolve the settings of one monitor or client in ``process``.

    Raises:
        SettingsError: an unknown mode, a malformed URL or run id, or a key that no header can carry.
    """
    address, basic_auth = _checked_url(url or environ.get("RELUMINE_URL") or DEFAULT_URL)
    return Settings(
        url=address,
        basic_auth=basic_auth,
        api_key=_checked_key(api_key or environ.get("RELUMINE_API_KEY") or ""),
        mode=_checked_mode(mode or environ.get("RELUMINE_MODE") or "online"),
        run_id=_checked_run_id(_run_id_of_task(environ, process.task) if run_id in (None, "") else run_id),
        directory=Path(environ.get("RELUMINE_DIR") or DEFAULT_DIR),
        rank=process.rank,
        world_size=process.world_size,
    )


def _checked_url(text: str) -> tuple[str, BasicAuth | None]:
    """Return a URL without its credentials, and these. Errors show neither them nor what may be a part of them."""
    text = text.strip()
    if not text.lower().startswith(("http://", "https://")):
        shown = repr(text) if "@" not in text else "(not shown, it may hold a password)"
        raise SettingsError(f"url {shown} begins with neither http:// nor https://")
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text holds the password
        is_usable = False
    # An @ behind the host is the rest of a password with a /, ? or # in it.
    if not is_usable or any("@" in part for part in parts[2:]):
        raise SettingsError("url cannot be read: special characters of its name and password must be percent-encoded")
    if parts.query or parts.fragment:
        raise SettingsError("url has a query or a fragment, and must end with the path")
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    return address, _basic_auth(parts)


def _basic_auth(parts: SplitResult) -> BasicAuth | None:
    if not parts.username and not parts.password:
        return None
    return BasicAuth(unquote(parts.username or ""), unquote(parts.password or ""))


def _checked_run_id(run_id: str | int | None) -> str | None:
    """Return the id as text: the number of a job is a usual one."""
    run_id = None if run_id is None else str(run_id)
    if run_id is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", run_id):
        raise SettingsError(f"run_id {run_id!r} must be 1 to 64 letters, digits, - or _")
    return run_id


def _run_id_of_task(environ: Mapping[str, str], task: int) -> str | None:
    """Return the run id from the environment; independent tasks that share the environment do not share a run."""
    run_id = environ.get("RELUMINE_RUN_ID") or None
    if run_id is None or not task:
        return run_id
    suffix = f"-{task}"
    return run_id[: MAX_RUN_ID_LENGTH - len(suffix)] + suffix


def _checked_key(text: str) -> str | None:
    """Return the key without the line end that files and variables like to add. Errors never show it."""
    key = text.strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise SettingsError("api_key holds characters that no key contains; it is not printed")
    return key or None


def _checked_mode(name: str) -> Mode:
    for mode in get_args(Mode):
        if name == mode:
            return cast("Mode", mode)
    raise SettingsError(f"mode {name!r} is not one of {', '.join(get_args(Mode))}")
