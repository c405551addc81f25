"""Runs in which layers die, as uploads: one layer when the learning rate rises, one later, one that recovers once.

Everything follows from the run's name, so that a check knows what was sent.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np

Outcome: TypeAlias = Literal["finished", "failed"] | None
"""The end of a run; None if it stops sending without an end."""

LAYERS = 3
UNITS = 24
EXAMPLES = 64
EVERY = 10
"""Steps between two sampled steps."""
SAMPLED_STEPS = 60
STEPS_PER_UPLOAD = 3
UPLOADS = SAMPLED_STEPS // STEPS_PER_UPLOAD
RECORDS_PER_STEP = LAYERS + 1  # layer 0 is the run itself
RATE_RISES_AT = 20
SILENT = {1: ((20, SAMPLED_STEPS),), 2: ((30, SAMPLED_STEPS),), 3: ((12, 30), (46, SAMPLED_STEPS))}
"""By layer the spans of sampled steps in which three quarters of its units are silent."""


def outcome(run: str) -> Outcome:
    """Return how this run ends."""
    outcomes: tuple[Outcome, ...] = ("finished", "failed", None, None)
    return outcomes[zlib.crc32(run.encode()) % len(outcomes)]


def bodies(run: str) -> Iterator[bytes]:
    """Yield the uploads of a run in order, encoded."""
    for upload in uploads(run):
        yield json.dumps(upload).encode()


def uploads(run: str) -> Iterator[dict[str, Any]]:
    """Yield the uploads of a run in order."""
    rng = np.random.default_rng(zlib.crc32(run.encode()))
    layers = [{"layer_id": layer, "name": f"act{layer}", "units": UNITS} for layer in range(1, LAYERS + 1)]
    for seq in range(1, UPLOADS + 1):
        records: list[dict[str, Any]] = []
        for ordinal in range((seq - 1) * STEPS_PER_UPLOAD, seq * STEPS_PER_UPLOAD):
            records += records_at(ordinal, rng)
        body: dict[str, Any] = {"run": {"id": run, "project": "chaos"}, "session": "s1", "seq": seq, "layers": layers}
        yield body | {"records": records, "final_status": outcome(run) if seq == UPLOADS else None}


def records_at(ordinal: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the records of the sampled step of this ordinal (from 0)."""
    step = EVERY * ordinal + 1
    common = {"first_step": step, "step": step, "n_examples": EXAMPLES}
    yield {"layer_id": 0, **common, "learning_rate": 0.1 if ordinal < RATE_RISES_AT else 1.0, "loss": 1.0}
    for layer, spans in SILENT.items():
        active = rng.binomial(EXAMPLES, 0.3, UNITS)
        if any(first <= ordinal < last for first, last in spans):
            active[: 3 * UNITS // 4] = 0
        yield {"layer_id": layer, **common, "active": active.tolist()}


def seq_of(step: int) -> int:
    """Return the number of the upload that carries a step."""
    return (step - 1) // (EVERY * STEPS_PER_UPLOAD) + 1
