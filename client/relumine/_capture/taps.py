"""Taps: layers whose pre-activations the training script passes in itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from relumine._capture import unit_sums
from relumine._capture.layer_recorder import LayerRecorder, SampledStep
from relumine._torch.activations import Activation
from relumine._torch.tapped import checked_mask, checked_preactivation, minus_threshold

TAPPED = Activation("tapped", can_die=True)


class Taps:
    """The layers of ``Monitor.tap``. Where the shape or the mask of a name comes to mean something else, it is another.

    ``layers`` are those of the whole model; ``add_layer`` adds one to them.
    """

    def __init__(self, layers: dict[tuple[int, int], LayerRecorder], add_layer: Callable[..., LayerRecorder]) -> None:
        self._layers = layers
        self._add_layer = add_layer

    def record(self, name: str, z: Any, threshold: Any, mask: Any, step: SampledStep) -> None:
        """Record one pre-activation. Gradients are off.

        Raises:
            UnusableValue: one of the arguments is not what it should be.
        """
        z = checked_preactivation(z)
        mask = checked_mask(mask, z)
        dim = unit_sums.unit_dim(z, channels_first=mask is None and z.dim() >= 4)
        z = minus_threshold(z, threshold, dim)
        if not z.numel():
            return
        layer = self._layer_of(name, z, z.shape[dim], masked=mask is not None)
        if mask is None:
            layer.record(z, None, step, from_producer=False)
        else:
            layer.record_masked(z, mask)

    def _layer_of(self, name: str, z: Tensor, units: int, *, masked: bool) -> LayerRecorder:
        key = (0, hash((name, units, z.dim() > 2, z.dim() >= 4, masked)))
        layer = self._layers.get(key)
        if layer is None:
            layer = self._add_layer(key, self._unused_name(name), TAPPED, z, masked=masked)
        return layer

    def _unused_name(self, name: str) -> str:
        used = {layer.name for layer in self._layers.values()}
        numbered = (f"{name}#{number}" for number in itertools.count(2))
        return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in used)
