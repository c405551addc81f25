"""In which order examples come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from materials import Material
from recipe import Loader


def batches(
    loader: Loader, source: Material, steps: int, random: np.random.Generator
) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Rows of each batch, in the loader's order."""
    n, kinds = len(source.x), np.unique(source.groups)
    order = np.argsort(source.groups, kind="stable") if loader.kind == "sorted" else random.permutation(n)
    at = 0
    for step in range(steps):
        if loader.kind == "blocks":
            first = step // loader.block
            wanted = kinds[(first + np.arange(loader.span)) % len(kinds)]
            yield random.choice(np.flatnonzero(np.isin(source.groups, wanted)), loader.batch)
            continue
        if at + loader.batch > n:
            order, at = order if loader.kind == "sorted" else random.permutation(n), 0
        yield order[at : at + loader.batch]
        at += loader.batch
