"""Which thresholds of a policy may be changed, and between which numbers. Pure.

A range keeps the detector sound, not wise: no number in it makes a fold fail. What it does is for a backtest to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import NamedTuple

from relumine_server.detection.policy import DEFAULT, Policy
from relumine_server.errors import InvalidPolicy


class Range(NamedTuple):
    """The least and the greatest number that a threshold may be."""

    least: float
    most: float


COUNT, NUMBER, SHARE = Range(1, 10**6), Range(1e-6, 1e6), Range(1e-6, 1.0)

DEFAULTS: Mapping[str, float] = {
    field.name: value for field in fields(Policy) if type(value := getattr(DEFAULT, field.name)) in (int, float)
}


def range_of(name: str) -> Range:
    """The range of a threshold: what is less than one by default is a share, or small against one."""
    default = DEFAULTS[name]
    found = COUNT if is_whole(name) else SHARE if default < 1 else NUMBER
    return found._replace(least=min(found.least, default))


def is_whole(name: str) -> bool:
    """Whether a threshold is a count."""
    return isinstance(DEFAULTS[name], int)


def in_force(policy: Policy) -> dict[str, float]:
    """Every threshold."""
    return {name: getattr(policy, name) for name in DEFAULTS}


def changed(policy: Policy) -> dict[str, float]:
    """The thresholds that are not what they are by default."""
    return {name: value for name, value in in_force(policy).items() if value != DEFAULTS[name]}


def build(given: Mapping[str, float]) -> Policy:
    """The default policy with these thresholds. Raises InvalidPolicy, which repeats nothing that was sent."""
    if given.keys() - DEFAULTS.keys():
        raise InvalidPolicy("there is no such threshold; the policy of a project lists them all")
    for name, value in given.items():
        if not _fits(name, value):
            least, most = range_of(name)
            kind = "a whole number" if is_whole(name) else "a number"
            raise InvalidPolicy(f"{name} is {kind} from {least:g} to {most:g}")
    return _replaced(given)


def restore(stored: Mapping[str, float]) -> Policy:
    """The policy that was stored; what another version stored and this one would refuse is at its default."""
    return _replaced({name: value for name, value in stored.items() if name in DEFAULTS and _fits(name, value)})


def _fits(name: str, value: float) -> bool:
    least, most = range_of(name)
    return least <= value <= most and not (is_whole(name) and value != int(value))


def _replaced(given: Mapping[str, float]) -> Policy:
    whole = {name: int(value) if is_whole(name) else float(value) for name, value in given.items()}
    return replace(DEFAULT, **whole)  # type: ignore[arg-type]  # counts are made whole, by name
