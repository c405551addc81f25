"""The pace at which a client records layers, and whether it has stopped although the training goes on. Pure.

A client that reports ``watching`` knows this itself. One that does not is judged by its own pace, counted in what it
sends, not by a clock: what was kept on a disk and arrives all at once is judged alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import Upload

MIN_SINGLE = 20
"""Signs of a training without a record of a layer that mean nothing yet."""
MAX_PACES = 3
"""How many times longer than before a stretch without a record of a layer may be."""
FORGETTING = 32
"""A longest stretch is shortened by this part of it at each upload with a layer, so that one stop is not remembered."""


class LayerPace(NamedTuple):
    """Columns of a run about its records of layers.

    ``since_layer`` counts the signs that the training goes on since the last of them: sampled steps of the run itself,
    or uploads where they have none. ``longest_without_layer`` is the largest such number before.
    """

    last_layer_step: int | None = None
    since_layer: int = 0
    longest_without_layer: int = 0

    @property
    def has_stopped(self) -> bool:
        """True if layers are no longer recorded although the training goes on."""
        return self.since_layer > max(MIN_SINGLE, MAX_PACES * self.longest_without_layer)


def pace_after(pace: LayerPace, upload: Upload) -> LayerPace:
    """Return the pace after an upload of the newest session."""
    steps = upload.records.scalars["step"]
    is_run = upload.records.scalars["layer_id"] == 0
    if is_run.all():
        signs = np.unique(steps).size or int(_is_sign_of_training(upload))
        return pace._replace(since_layer=min(pace.since_layer + signs, MAX_STEP))
    last_layer_step = int(steps[~is_run].max())
    forgotten = pace.longest_without_layer // FORGETTING
    return LayerPace(
        last_layer_step,
        since_layer=np.unique(steps[is_run & (steps > last_layer_step)]).size,
        longest_without_layer=max(pace.since_layer, pace.longest_without_layer - forgotten),
    )


def values(pace: LayerPace, upload: Upload) -> dict[str, Any]:
    """Return the columns that an upload of the newest session changes."""
    changed = pace_after(pace, upload)
    return {name: value for name, value in changed._asdict().items() if value != getattr(pace, name)}


def _is_sign_of_training(upload: Upload) -> bool:
    """Return whether an upload without a record says that the training goes on: not its end, nor a part of a record."""
    return upload.final_status is None and upload.first_unit is None
