"""The alerts of one run in one transaction: taken down, moved by the machine, told once, and written once.

Whoever opens a book has locked the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relumine.views import Kind, Severity
from relumine_server.life.machine import Occurrence, Telling, move
from relumine_server.life.quiet import Muters, facts, silenced_by
from relumine_server.life.telling import is_due_again, speak
from relumine_server.storage import alerts, deliveries, lives, silences
from relumine_server.storage.lives import Tracked

TELLINGS: tuple[Telling, ...] = ("firing", "acknowledged", "resolved")
"""In the order that receivers hear of them."""


class Book:
    """All alerts of a run that is locked."""

    def __init__(self, connection: sa.Connection, run: sa.Row[Any], now: datetime) -> None:
        self.run, self.now = run, now
        self._connection = connection
        self._alerts = lives.load(connection, run.run_id)
        self._touched: dict[str, Tracked] = {}

    @property
    def alerts(self) -> list[Tracked]:
        """All of them, in the order of layers."""
        return list(self._alerts.values())

    @property
    def moved(self) -> list[str]:
        """The ids of the alerts that something happened to, the worst first."""
        rank = {"critical": 0, "warning": 1, "info": 2}
        order = sorted(self._touched.values(), key=lambda one: rank[one.life.severity] if one.life else 3)
        return [one.alert_id for one in order]

    def find(self, alert_id: str) -> Tracked | None:
        """An alert by its id."""
        return self._alerts.get(alert_id)

    def key(self, layer_id: int, kind: Kind) -> Tracked:
        """The one alert of a layer and kind; it has no life before it is raised."""
        alert_id = alerts.alert_id(self.run.run_id, layer_id, kind)
        return self._alerts.get(alert_id) or Tracked(alert_id, layer_id, kind)

    def occur(self, alert: Tracked, what: Occurrence, content: Mapping[str, Any] | None = None) -> bool:
        """Let something happen to an alert; says whether it could."""
        moved = move(alert.life, what)
        if moved is None:
            return False
        alert.life = moved.life
        if content is not None:
            alert.content, alert.cause, alert.upstream = content, content["cause"], content["upstream"] or ()
        alert.entries += [moved.entry] if moved.entry is not None else []
        alert.fired_now |= moved.tells == "firing"
        alert.taken_now |= moved.tells == "acknowledged"
        self._alerts[alert.alert_id] = self._touched[alert.alert_id] = alert
        return True

    def each(self, what: Occurrence, wanted: Callable[[Tracked], bool]) -> None:
        """Let the same happen to all alerts that are wanted."""
        for alert in self.alerts:
            if wanted(alert):
                self.occur(alert, what)

    def close(self, repeat_after: timedelta | None = None) -> int:
        """Find what is quiet now, tell what is to be told, write it all; the number of tellings."""
        self._hush()
        told: dict[Telling, list[tuple[str, Severity]]] = {telling: [] for telling in TELLINGS}
        for alert in self._alerts.values():
            for telling in self._said(alert, repeat_after):
                told[telling].append((alert.alert_id, alert.life.severity if alert.life else "info"))
        lives.save(self._connection, self.run, self.alerts, self.now)
        for telling, about in told.items():
            if about:
                self._enqueue(f"alert.{telling}", about)
        return sum(map(len, told.values()))

    def _enqueue(self, event: str, about: list[tuple[str, Severity]]) -> None:
        run = self.run
        deliveries.enqueue(
            self._connection, event=event, run_id=run.run_id, project=run.project, alerts=about, now=self.now
        )

    def run_finished(self) -> None:
        """Tell that the run is over."""
        self._enqueue("run.finished", [])

    def _hush(self) -> None:
        """Which alert explains which, and which a silence holds: as of now, for all that are open."""
        here = [(one, one.life) for one in self._alerts.values() if one.life is not None and one.life.is_open]
        if not here:
            return
        muters = Muters(one.about(life) for one, life in here)
        holding = silences.active(self._connection, self.now)
        for one, life in here:
            about = facts(self.run, one.layer, one.kind, life.severity, one.cause)
            silence = silenced_by(holding, about, self.now) if holding else None
            muter = muters.of(one.about(life))
            if (muter, silence) != (life.muted_by, life.silenced_by):
                one.life = replace(life, muted_by=muter, silenced_by=silence)

    def _said(self, one: Tracked, repeat_after: timedelta | None) -> tuple[Telling, ...]:
        if one.life is None:
            return ()
        said = speak(one.life, self.now, fired_now=one.fired_now, taken_now=one.taken_now)
        one.life = said.life
        if said.tells or repeat_after is None or not is_due_again(one.life, self.now, repeat_after):
            return said.tells
        one.life = replace(one.life, told_at=self.now)
        return ("firing",)
