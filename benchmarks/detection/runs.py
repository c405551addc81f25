"""What a training left, and how it is kept: plain numbers, so that a kept run outlives changes of the product."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recipe import Recipe
from truth import Truth

from relumine.table import RecordTable, Row
from relumine.wire import LayerInfo

FORMAT = 1


@dataclass
class Run:
    """Records for a detector, truth for the judge. ``score`` is that of the end: accuracy or explained variance."""

    recipe: Recipe
    seed: int
    every: int | None
    layers: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    truth: Truth
    losses: list[float]
    score: float
    stats: dict[str, Any]

    def infos(self) -> list[LayerInfo]:
        """The layers as the SDK described them at last."""
        return [LayerInfo.model_validate(layer) for layer in self.layers]

    def records(self) -> list[Row]:
        """All records in the order in which they were sent."""
        return [row for table in self.tables for row in RecordTable(**table)]

    @property
    def diverged(self) -> bool:
        """Whether its loss was not a number at any step."""
        return any(loss != loss or loss in (float("inf"), -float("inf")) for loss in self.losses)  # noqa: PLR0124 - NaN is what differs from itself


def tables_of(tables: Iterable[RecordTable]) -> list[dict[str, Any]]:
    """Tables of records as arrays by name."""
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


def path_of(folder: Path, name: str, seed: int) -> Path:
    """Where a run is kept."""
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.{seed}.pickle"


def keep(folder: Path, run: Run) -> None:
    """Write a run; one that was cut short leaves nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, run.recipe.name, run.seed)
    whole: Mapping[str, Any] = {
        "format": FORMAT,
        "fingerprint": run.recipe.fingerprint(),
        **{name: getattr(run, name) for name in ("seed", "every", "layers", "tables", "losses", "score", "stats")},
        "truth": asdict(run.truth),
    }
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(whole))
    part.replace(path)


def kept(folder: Path, recipe: Recipe, seed: int) -> Run | None:
    """A run that was kept; None where there is none of this very recipe."""
    path = path_of(folder, recipe.name, seed)
    if not path.exists():
        return None
    whole = pickle.loads(path.read_bytes())  # noqa: S301 - written by ``keep``
    if whole.pop("format") != FORMAT or whole.pop("fingerprint") != recipe.fingerprint():
        return None
    truth = Truth(**whole.pop("truth"))
    return Run(recipe=recipe, truth=truth, **whole)
