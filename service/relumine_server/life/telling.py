"""When receivers hear of an alert. Who was told that it fires is told that it is over, whatever keeps it quiet."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from relumine_server.life.machine import FIRING, Life, Telling


class Said(NamedTuple):
    """The life after receivers were told, and what they were told, in order."""

    life: Life
    tells: tuple[Telling, ...]


def speak(life: Life, at: datetime, *, fired_now: bool = False, taken_now: bool = False) -> Said:
    """What there is to tell of an alert after all that just happened to it.

    ``fired_now``: it began to fire in this moment, ``taken_now``: it was acknowledged in it.
    """
    if life.state in FIRING:
        if life.owed and not life.is_quiet:
            return Said(replace(life, told_at=at, owed=False), ("firing",))
        return Said(life, ())
    silent = life if life.told_at is None and not life.owed else replace(life, owed=False)
    if life.state == "acknowledged":
        return Said(silent, ("acknowledged",) if taken_now and life.told_at is not None else ())
    if life.told_at is not None:
        return Said(replace(silent, told_at=None), ("resolved",))
    short = life.state == "resolved" and life.owed and fired_now and not life.is_quiet
    return Said(silent, ("firing", "resolved") if short else ())


def is_due_again(life: Life, now: datetime, after: timedelta) -> bool:
    """Whether nobody has answered for so long that it is told once more."""
    waits = life.state in FIRING and not life.owed and not life.is_quiet and life.severity != "info"
    return waits and life.told_at is not None and life.told_at + after <= now
