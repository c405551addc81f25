"""The order of examples in a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from research.corpus.datasets import Dataset
from research.corpus.recipe import Loader

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def batches(loader: Loader, dataset: Dataset, steps: int, random: np.random.Generator) -> Iterator[Rows]:
    """Yield the rows of each batch."""
    n = len(dataset.x)
    groups = np.unique(dataset.groups)
    order = np.argsort(dataset.groups, kind="stable") if loader.kind == "sorted" else random.permutation(n)
    position = 0
    for step in range(steps):
        if loader.kind == "blocks":
            first = step // loader.block
            chosen = groups[(first + np.arange(loader.span)) % len(groups)]
            yield random.choice(np.flatnonzero(np.isin(dataset.groups, chosen)), loader.batch)
            continue
        if position + loader.batch > n:
            position = 0
            if loader.kind != "sorted":
                order = random.permutation(n)
        yield order[position : position + loader.batch]
        position += loader.batch
