"""Which alerts of a run a notification speaks of: ``{kind: [[first_layer, last_layer], …]}``.

Layers that die together are neighbours: ten thousand of them are a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from relumine.views import SEVERITIES, Severity

Key: TypeAlias = tuple[int, str]
"""Layer and kind: within a run they name one alert."""
Subject: TypeAlias = dict[str, list[list[int]]]


def of(alerts: Sequence[tuple[str, Severity]], least: str) -> Subject:
    """The alerts, as (alert_id, severity), that are at least so severe."""
    wanted = [alert_id for alert_id, severity in alerts if reaches(severity, least)]
    return pack(_key(alert_id) for alert_id in wanted)


def reaches(severity: str, least: str) -> bool:
    """Whether a severity is at least the other."""
    order: Sequence[str] = SEVERITIES
    return order.index(severity) >= order.index(least)


def pack(keys: Iterable[Key]) -> Subject:
    """Keys by kind, as stretches of layers."""
    packed: Subject = {}
    for layer_id, kind in sorted(set(keys)):
        stretches = packed.setdefault(kind, [])
        if stretches and stretches[-1][1] == layer_id - 1:
            stretches[-1][1] = layer_id
        else:
            stretches.append([layer_id, layer_id])
    return packed


def unpack(subject: Subject) -> set[Key]:
    """The keys of a subject."""
    stretches = [(kind, first, last) for kind, found in subject.items() for first, last in found]
    return {(layer_id, kind) for kind, first, last in stretches for layer_id in range(first, last + 1)}


def merge(subject: Subject, more: Subject) -> Subject:
    """A subject of what either speaks of."""
    return pack(unpack(subject) | unpack(more))


def count(subject: Subject) -> int:
    """How many alerts it speaks of."""
    return sum(last - first + 1 for stretches in subject.values() for first, last in stretches)


def _key(alert_id: str) -> Key:
    _, layer_id, kind = alert_id.rsplit(".", 2)
    return int(layer_id), kind
