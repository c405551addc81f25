"""The result of a training, and its file: plain numbers, so that a stored run outlives changes of the product."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relumine.schemas.record_table import RecordTable, Row
from relumine.schemas.upload import LayerInfo
from research.corpus.ground_truth import GroundTruth
from research.corpus.recipe import Recipe

FORMAT = 1
STORED_AS_IS = ("seed", "every", "layers", "tables", "losses", "score", "stats")


@dataclass
class Run:
    """Records for a detector and the ground truth. ``score`` is the final accuracy or explained variance."""

    recipe: Recipe
    seed: int
    every: int | None
    layers: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    truth: GroundTruth
    losses: list[float]
    score: float
    stats: dict[str, Any]

    def infos(self) -> list[LayerInfo]:
        """Return the layers as the SDK described them last."""
        return [LayerInfo.model_validate(layer) for layer in self.layers]

    def records(self) -> list[Row]:
        """Return all records in the order in which they were sent."""
        return [row for table in self.tables for row in RecordTable(**table)]

    @property
    def diverged(self) -> bool:
        """True if the loss was NaN or infinite at any step."""
        return not all(math.isfinite(loss) for loss in self.losses)


def table_arrays(tables: Iterable[RecordTable]) -> list[dict[str, Any]]:
    """Return tables of records as arrays by name; without empty ones."""
    return [
        {
            "scalars": dict(table.scalars),
            "units": table.units,
            "present": table.present,
            "columns": dict(table.columns),
            "learning_rates": table.learning_rates,
        }
        for table in tables
        if len(table)
    ]


def run_path(folder: Path, name: str, seed: int) -> Path:
    """Return the file of a run."""
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.{seed}.pickle"


def store_run(folder: Path, run: Run) -> None:
    """Store a run; an interrupted call leaves nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = run_path(folder, run.recipe.name, run.seed)
    content: Mapping[str, Any] = {
        "format": FORMAT,
        "fingerprint": run.recipe.fingerprint(),
        **{name: getattr(run, name) for name in STORED_AS_IS},
        "truth": asdict(run.truth),
    }
    partial = path.with_suffix(".part")
    partial.write_bytes(pickle.dumps(content))
    partial.replace(path)


def load_run(folder: Path, recipe: Recipe, seed: int) -> Run | None:
    """Load a stored run; None if there is none of exactly this recipe."""
    path = run_path(folder, recipe.name, seed)
    if not path.exists():
        return None
    content = pickle.loads(path.read_bytes())  # noqa: S301 - written by ``store_run``
    if content.pop("format") != FORMAT or content.pop("fingerprint") != recipe.fingerprint():
        return None
    truth = GroundTruth(**content.pop("truth"))
    return Run(recipe=recipe, truth=truth, **content)
