"""Where the SDK sends, and how: arguments first, then ``RELUMINE_*`` variables, then defaults. No side effects."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from relumine.errors import SettingsError

Mode: TypeAlias = Literal["online", "local", "offline", "disabled"]

DEFAULT_URL = "http://127.0.0.1:7358"  # 7358 spells RELU on a telephone
DEFAULT_DIR = ".relumine"


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings of one monitor."""

    url: str
    api_key: str | None = field(repr=False)
    mode: Mode
    run_id: str | None
    directory: Path
    rank: int
    world_size: int


def resolve(
    *,
    url: str | None = None,
    api_key: str | None = None,
    mode: str | None = None,
    run_id: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Resolve the settings.

    Raises SettingsError for an unknown mode, a URL that is none, an odd run id, or a key that no header can carry.
    """
    chosen = _mode(mode or environ.get("RELUMINE_MODE") or "online")
    address = (url or environ.get("RELUMINE_URL") or DEFAULT_URL).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise SettingsError(f"url {address!r} begins with neither http:// nor https://")
    run = run_id or environ.get("RELUMINE_RUN_ID") or None
    if run is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", run):
        raise SettingsError(f"run_id {run!r} must be 1 to 64 letters, digits, - or _")
    return Settings(
        url=address,
        api_key=_key(api_key or environ.get("RELUMINE_API_KEY") or ""),
        mode=chosen,
        run_id=run,
        directory=Path(environ.get("RELUMINE_DIR") or DEFAULT_DIR),
        rank=_number(environ, ("RANK", "SLURM_PROCID"), 0),
        world_size=max(1, _number(environ, ("WORLD_SIZE", "SLURM_NTASKS"), 1)),
    )


def _number(environ: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    """The first of some variables that torchrun or SLURM have set to a number."""
    for name in names:
        text = environ.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return default


def _key(text: str) -> str | None:
    """A key without the line end that files and variables like to add. Errors never show it."""
    key = text.strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise SettingsError("api_key holds characters that are in no key; it is not shown here")
    return key or None


def _mode(name: str) -> Mode:
    for mode in get_args(Mode):
        if name == mode:
            return cast("Mode", mode)
    raise SettingsError(f"mode {name!r} is none of {', '.join(get_args(Mode))}")
