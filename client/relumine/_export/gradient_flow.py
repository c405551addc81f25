"""The flow of gradients to the watched layers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from relumine._capture.step_stats import LayerStats, SumRow, WeightSamples
from relumine.schemas.record_table import Array

# The spacing of floating-point numbers at 1, by their size in bytes (of those with two bytes, bfloat16 has the wider).
SPACING = {2: 2.0**-7, 4: 2.0**-23, 8: 2.0**-52}
# A weight that was shrunk is rounded to its type: it may be off by so many spacings.
ROUNDING = 2.0


@dataclass(slots=True)
class GradientFlow:
    """Counts sampled steps in a row on which no gradient reached any layer, though none of them is dead as a whole.

    Weights that weight decay shrinks, or momentum still moves, do change without a gradient.
    """

    steps_without: int = 0
    _has_seen_gradient: bool = field(default=False, init=False)

    def add(self, layers: Sequence[LayerStats], matrices: Sequence[Array], *, is_finite: bool) -> None:
        """Count a step on which weights were read. A dead layer stops the gradient itself, so it decides nothing."""
        trainable = [layer.weights for layer in layers if layer.weights is not None and layer.weights.trainable]
        if not trainable:
            return
        if not is_finite or any(map(self._is_trained, trainable)):
            self.steps_without = 0
        elif all(matrix[SumRow.ACTIVE].any() for matrix in matrices):
            self.steps_without += 1

    def _is_trained(self, weights: WeightSamples) -> bool:
        """Return True if a gradient has reached the weights, as far as their samples show.

        A gradient of zero counts only in a run in which others were read: the training may clear it before it is read.
        """
        if weights.grad is not None and bool(weights.grad.any()):
            self._has_seen_gradient = True
            return True
        if weights.updated.equal(weights.previous):
            return False
        if weights.grad is None:
            return True
        return not (self._has_seen_gradient or _has_only_decayed(weights))


def _has_only_decayed(weights: WeightSamples) -> bool:
    """Return True if the update made all weights smaller by the same share, as weight decay alone does."""
    previous: Array = weights.previous.double().cpu().numpy()
    update: Array = weights.updated.double().cpu().numpy() - previous
    share = -float(update @ previous) / max(float(previous @ previous), 1e-300)
    rounding = ROUNDING * SPACING.get(weights.updated.element_size(), 1.0) * np.abs(previous)
    is_above_rounding = float(np.linalg.norm(update)) > float(np.linalg.norm(rounding))
    return 0.0 < share < 1.0 and is_above_rounding and bool((np.abs(update + share * previous) <= rounding).all())
