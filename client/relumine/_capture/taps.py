"""Taps: layers whose pre-activations the training script passes in itself."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor

from relumine._capture import unit_sums
from relumine._capture.forward_trace import ForwardTrace
from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.layer_sites import LayerSites
from relumine._capture.producers import UNKNOWN_PRODUCER, ProducerInfo
from relumine._torch.activations import Activation
from relumine._torch.tapped import checked_mask, checked_preactivation, minus_threshold

TAPPED = Activation("tapped", can_die=True)


class Taps:
    """The layers of ``Monitor.tap``. Where the shape or the mask of a name comes to mean something else, it is another.

    ``sites`` are those of the whole model.
    """

    def __init__(self, sites: LayerSites) -> None:
        self._sites = sites

    def record(self, name: str, z: Any, threshold: Any, mask: Any, trace: ForwardTrace) -> None:
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
        layer = self._layer_of(name, z, dim, masked=mask is not None)
        layer.counts_positions = mask is not None or _counts_positions(z, trace.examples)
        if mask is None:
            layer.record(z.detach(), dim, None, trace.step)
        else:
            layer.record_masked(z, mask)

    def _layer_of(self, name: str, z: Tensor, dim: int, *, masked: bool) -> LayerRecorder:
        units = z.shape[dim]
        key = (0, hash((name, z.dim() > 2, z.dim() >= 4, masked)), units)
        layer = self._sites.layers.get(key)
        if layer is None:
            info = ProducerInfo(None, "none", [UNKNOWN_PRODUCER])
            layer = self._sites.add_fixed(key, self._unused_name(name), TAPPED, z, info, axis=dim)
        return layer

    def _unused_name(self, name: str) -> str:
        used = {layer.name for layer in self._sites.layers.values()}
        numbered = (f"{name}#{number}" for number in itertools.count(2))
        return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in used)


def _counts_positions(z: Tensor, examples: int | None) -> bool:
    """Return True if the first dimension of ``z`` does not hold the examples of the model's input."""
    return examples is not None and z.dim() > 1 and z.shape[0] != examples
