"""Runs in which layers really die, as uploads: one when the learning rate is raised, one later, one that comes back.

Everything follows from the run's name, so that whoever checks knows what was sent.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np

Outcome: TypeAlias = Literal["finished", "failed"] | None
"""How a run ends; None where it falls silent."""

LAYERS, UNITS, EXAMPLES = 3, 24, 64
LOOKS, PER_UPLOAD = 60, 3
UPLOADS = LOOKS // PER_UPLOAD
RECORDS_PER_STEP = LAYERS + 1  # layer 0 is the run itself
SILENT = {1: ((20, LOOKS),), 2: ((30, LOOKS),), 3: ((12, 30), (46, LOOKS))}
"""From which look to which three quarters of a layer are silent."""


def outcome(run: str) -> Outcome:
    """How this run ends."""
    ends: tuple[Outcome, ...] = ("finished", "failed", None, None)
    return ends[zlib.crc32(run.encode()) % len(ends)]


def bodies(run: str) -> Iterator[bytes]:
    """Its uploads, in order."""
    for upload in uploads(run):
        yield json.dumps(upload).encode()


def uploads(run: str) -> Iterator[dict[str, Any]]:
    """The same as documents."""
    rng = np.random.default_rng(zlib.crc32(run.encode()))
    layers = [{"layer_id": layer, "name": f"act{layer}", "units": UNITS} for layer in range(1, LAYERS + 1)]
    for seq in range(1, UPLOADS + 1):
        records = [record for look in range((seq - 1) * PER_UPLOAD, seq * PER_UPLOAD) for record in seen(look, rng)]
        body: dict[str, Any] = {"run": {"id": run, "project": "chaos"}, "session": "s1", "seq": seq, "layers": layers}
        yield body | {"records": records, "closing": outcome(run) if seq == UPLOADS else None}


def seen(look: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The records of one look."""
    here = {"first_step": step_of(look), "step": step_of(look), "n_examples": EXAMPLES}
    yield {"layer_id": 0, **here, "learning_rate": 0.1 if look < 20 else 1.0, "loss": 1.0}
    for layer, silent in SILENT.items():
        active = rng.binomial(EXAMPLES, 0.3, UNITS)
        if any(first <= look < last for first, last in silent):
            active[: 3 * UNITS // 4] = 0
        yield {"layer_id": layer, **here, "active": active.tolist()}


def step_of(look: int) -> int:
    """The step of a look."""
    return 10 * look + 1


def seq_of(step: int) -> int:
    """The upload that tells of a step."""
    return (step - 1) // (10 * PER_UPLOAD) + 1
