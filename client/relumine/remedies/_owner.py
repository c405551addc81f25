"""What alerts propose and only the owner of the training can do, such as mending its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from relumine._applied import Applied, Change
from relumine.views import Alert, Remedy

Do: TypeAlias = Callable[[Alert, Remedy], Applied]
Own: TypeAlias = Mapping[str, Callable[[Alert, Remedy], object]]
"""The owner's remedies, by the action that alerts propose."""


def by_owner(own: Own) -> dict[str, Do]:
    """The same, saying what was done: what each returns, and with ``False`` that nothing was."""

    def told(do: Callable[[Alert, Remedy], object]) -> Do:
        return lambda alert, remedy: _applied(alert, remedy, do(alert, remedy))

    return {action: told(do) for action, do in own.items()}


def _applied(alert: Alert, remedy: Remedy, told: object) -> Applied:
    if told is False:
        return Applied(remedy.action, remedy.value, "its owner did not do it", ())
    text = f"{remedy.action} by its owner" + ("" if told is None or told is True else f": {told}")
    change = Change(alert.layer or "the run", remedy.action, None, None, remedy.value)
    return Applied(remedy.action, remedy.value, text, (change,))
