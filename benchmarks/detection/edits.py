"""What a detector would have read had the SDK sent less: records without a statistic, or fewer looks.

Edits work on records as plain values (``Note``), a whole run at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from relumine.table import SCALARS, Array, RecordTable, Row

SHIFTS = ("shift_weight", "shift_input", "shift_bias")


@dataclass(frozen=True)
class Note:
    """One record: scalars by name (``learning_rates`` among them), and its unit columns."""

    scalars: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def layer_id(self) -> int:
        """0 is the run itself."""
        return int(self.scalars["layer_id"])


Edit: TypeAlias = Callable[[Sequence[Note]], Sequence[Note]]


def notes_of(records: Sequence[Row]) -> list[Note]:
    """Records as plain values."""
    names = (*SCALARS, "learning_rates")
    return [Note({name: getattr(row, name) for name in names}, row.arrays()) for row in records]


def records_of(notes: Sequence[Note]) -> Sequence[Row]:
    """And back, as one table."""
    return RecordTable.build([note.scalars for note in notes], [note.arrays for note in notes])


def nothing(notes: Sequence[Note]) -> Sequence[Note]:
    """All that was sent."""
    return notes


def without(*names: str) -> Edit:
    """Records that lack these columns and scalars."""

    def edit(notes: Sequence[Note]) -> Sequence[Note]:
        return [
            Note(
                {name: None if name in names else value for name, value in note.scalars.items()},
                {name: values for name, values in note.arrays.items() if name not in names},
            )
            for note in notes
        ]

    return edit


def only_active(notes: Sequence[Note]) -> Sequence[Note]:
    """Counts of activations, and no other column."""
    return [replace(note, arrays={k: v for k, v in note.arrays.items() if k == "active"}) for note in notes]


def without_run(notes: Sequence[Note]) -> Sequence[Note]:
    """Layers alone: no record speaks of the run."""
    return [note for note in notes if note.layer_id]


def thinned(every: int) -> Edit:
    """Every n-th look, from the first one on, as if the others had not been taken.

    The SDK counts silence over looks alone, so it is counted anew over those that stay; the parts of the mean's
    change add up from look to look, so those of looks left out are added to the next that stays. What was read of a
    step itself (counts, bias, update_shift, maximum) stays as it is. Bursts of looks are thinned like all others.
    """

    def edit(notes: Sequence[Note]) -> Sequence[Note]:
        stays = set(sorted({note.scalars["step"] for note in notes})[::every])
        layers: dict[int, _Thinning] = {}
        kept = []
        for note in notes:
            layer = layers.setdefault(note.layer_id, _Thinning())
            if note.scalars["step"] in stays:
                kept.append(layer.keep(note))
            else:
                layer.leave_out(note)
        return kept

    return edit


@dataclass
class _Thinning:
    """What a layer must remember from look to look: its silences over those that stayed, and shifts that wait."""

    silent: Array | None = None
    waiting: list[Note] = field(default_factory=list)

    def leave_out(self, note: Note) -> None:
        self.waiting.append(note)

    def keep(self, note: Note) -> Note:
        waiting, self.waiting = self.waiting, []
        if "active" not in note.arrays:
            self.silent = None  # a look that was not finite ends a silence
            return note
        return _summed(replace(note, arrays=note.arrays | self._silences(note)), [*waiting, note])

    def _silences(self, note: Note) -> dict[str, Array]:
        fired = note.arrays["active"] > 0
        past = np.zeros(fired.size) if self.silent is None else self.silent
        self.silent = np.where(fired, 0, past + note.scalars["n_examples"])
        return {"silent": self.silent, "longest_silence": np.where(fired, past, 0)}


def _summed(note: Note, parts: Sequence[Note]) -> Note:
    """The split of the change since the look that stayed before; not there if any part of it is not."""
    if not all(name in part.arrays for part in parts for name in SHIFTS):
        return Note(note.scalars | {"since_step": None}, {k: v for k, v in note.arrays.items() if k not in SHIFTS})
    sums = {name: np.sum([part.arrays[name].astype(np.float64) for part in parts], axis=0) for name in SHIFTS}
    return Note(note.scalars | {"since_step": parts[0].scalars["since_step"]}, note.arrays | sums)
