"""The flow of gradients to the watched layers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relumine._capture.step_stats import LayerStats, SumRow, WeightSamples
from relumine.schemas.record_table import Array


@dataclass(slots=True)
class GradientFlow:
    """Counts sampled steps in a row on which no gradient reached any layer, though none of them is dead as a whole."""

    steps_without: int = 0

    def add(self, layers: Sequence[LayerStats], matrices: Sequence[Array], *, is_finite: bool) -> None:
        """Count a step on which weights were read. A dead layer stops the gradient itself, so it decides nothing."""
        trainable = [layer.weights for layer in layers if layer.weights is not None and layer.weights.trainable]
        if not trainable:
            return
        if not is_finite or any(map(_is_trained, trainable)):
            self.steps_without = 0
        elif all(matrix[SumRow.ACTIVE].any() for matrix in matrices):
            self.steps_without += 1


def _is_trained(weights: WeightSamples) -> bool:
    """Return True if the weights have a gradient or were updated, as far as their samples show."""
    if weights.grad is not None and bool(weights.grad.any()):
        return True
    return not weights.updated.equal(weights.previous)
