"""The run as uploads carry it, from what the user passed to ``watch``. Nothing that only describes it is refused."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import torch

from relumine import __version__
from relumine._runtime.json_config import to_json_config
from relumine._runtime.log import logger
from relumine._runtime.process import uuid7
from relumine._runtime.sendable import sendable_name
from relumine._runtime.settings import Settings
from relumine._runtime.text import join_names
from relumine.errors import SettingsError
from relumine.schemas.upload import RunInfo

MAX_TAGS = 100


class Labels(NamedTuple):
    """The description of a run, as the user passed it."""

    project: object
    name: object
    group: object
    config: object
    tags: object


def run_info(settings: Settings, labels: Labels) -> RunInfo:
    """Return the run; log once what could not be taken as it is. Raises SettingsError for a project without a name."""
    if labels.project == "":
        raise SettingsError("project is empty")
    notes: list[str] = []
    config, config_notes = to_json_config(labels.config)
    run = RunInfo(
        id=settings.run_id or uuid7(),
        project=_name("project", labels.project, notes) or "default",
        name=_name("name", labels.name, notes),
        group=_name("group", labels.group, notes),
        config=config,
        tags=_tags(labels.tags, notes),
        sdk=__version__,
        torch=torch.__version__,
        started_at=time.time(),
        resumed=settings.run_id is not None,
    )
    if notes:
        logger.info("%s: changed so that it can be sent: %s", run.label, join_names(notes))
    if config_notes:
        logger.info("%s: config was changed so that it can be sent: %s", run.label, join_names(config_notes))
    return run


def _name(role: str, value: object, notes: list[str]) -> str | None:
    """Return a name that can be sent; None for None and for an empty one."""
    if value is None:
        return None
    name = sendable_name(value)
    if name != value:
        notes.append(f"{role} is {name!r}" if name else f"{role} is empty")
    return name or None


def _tags(tags: object, notes: list[str]) -> list[str]:
    """Return tags that can be sent. A single word is one tag."""
    if tags is None:
        return []
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        tags = [tags]
    names: list[str] = []
    try:
        for tag in tags:
            name = _name("tag", tag, notes)
            if name and len(names) == MAX_TAGS:
                notes.append(f"only the first {MAX_TAGS} tags are sent")
                break
            if name:
                names.append(name)
    except Exception as error:  # noqa: BLE001 - an iterator of the user's
        notes.append(f"tags cannot be read ({type(error).__name__})")
    return names
