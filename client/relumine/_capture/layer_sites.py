"""The layer that an activation belongs to, by the module it acts in, its producer and its call site.

An activation becomes a layer only if the axis of its units is known: a feature axis of a layer with weights. Everything
else is left out, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from relumine._capture.call_sites import call_site
from relumine._capture.composed_relus import THRESHOLDED
from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.producers import ModuleOutput, ProducerInfo, RecentOutputs, find_producer, known_axis
from relumine._torch.activations import Activation
from relumine._torch.feature_axis import feature_axis, has_readable_graph
from relumine._torch.modules import ModuleNames, has_units, is_producer
from relumine._torch.unwrap import Unwrapped, unwrap

NOT_UNITS = "left out: no axis of it is known to hold the features of a layer (a loss, distances, pairs or boxes)"
ONE_DIMENSIONAL = "left out: one number per example, no units (a loss or a score)"
ENSEMBLE = "inside torch.func.vmap over weights: its units belong to several models"
VMAPPED = "inside torch.func.vmap, and not the output of a layer"
OTHER_THRESHOLD = "not observed: a threshold other than 0 (JumpReLU); monitor.tap(name, z, threshold=…) records it"
TOO_MANY_SITES = "not observed: called in more ways than can be told apart"

# Activations of one module that are told apart; a module with more calls them in ever new ways.
MAX_SITES = 200

_Site: TypeAlias = tuple[int, int]
LayerKey: TypeAlias = tuple[int, int, int]


class ActivationCall(NamedTuple):
    """An activation, about to run.

    Attributes:
        activation: its kind.
        z: the pre-activation, as the forward holds it.
        plain: the plain tensor inside it.
        module: the innermost module that runs.
        source: the output of a module or a layer function that ``z`` is, if any.
        examples: the number of examples of the model's input, where it is known.
    """

    activation: Activation
    z: Tensor
    plain: Unwrapped
    module: nn.Module
    source: ModuleOutput | None
    examples: int | None


class FoundLayer(NamedTuple):
    """The layer of an activation, its pre-activation with the units along ``dim``."""

    recorder: LayerRecorder
    z: Tensor
    dim: int


class LayerSites:
    """The layers found so far, in order of first use, and the activations that are none.

    Attributes:
        layers: the recorders, by module, number of the activation in it, and number of units.
        unseen: why an activation with units is not observed, by name.
        left_out: why an activation is no layer, by name.
        modules_called: the ids of the modules in which an activation of either kind acts.
        names: the names of modules and activations.
    """

    def __init__(self, names: ModuleNames) -> None:
        self.layers: dict[LayerKey, LayerRecorder] = {}
        self.unseen: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.modules_called: set[int] = set()
        self.names = names
        self._numbers: dict[tuple[object, ...], int] = {}
        self._counts: Counter[int] = Counter()
        self._axes: dict[_Site, int] = {}
        self._ignored: set[tuple[int, int, int]] = set()

    def find(self, call: ActivationCall, recent_outputs: RecentOutputs) -> FoundLayer | None:
        """Return the layer of an activation, or None if it is none or cannot be observed."""
        number = self._number(call, recent_outputs)
        site = (id(call.module), number)
        axis = self._axes.get(site)
        width = call.z.shape[axis] if axis is not None and -call.z.dim() <= axis < call.z.dim() else 0
        layer = self.layers.get((*site, width if call.activation.can_die else 0))
        if layer is None:
            if (*site, call.z.dim()) in self._ignored:
                return None
            layer = self._add(site, call, recent_outputs)
        if layer is None or not layer.can_die or call.plain.tensor is None or not call.plain.tensor.numel():
            return None
        z, dim = _arranged(call.plain, self._axes[site], call.z.dim())
        return FoundLayer(layer, z, dim)

    def add_fixed(
        self, key: LayerKey, name: str, activation: Activation, z: Tensor, info: ProducerInfo, axis: int = -1
    ) -> LayerRecorder:
        """Add a layer whose units are known to lie along ``axis``: a tap, the states of an RNN."""
        layer = LayerRecorder(
            layer_id=len(self.layers) + 1,
            name=name,
            activation=activation.name,
            can_die=True,
            units=z.shape[axis],
            channels_first=axis % z.dim() != z.dim() - 1,
            has_positions=z.dim() > 2,
            module_id=key[0],
            producer=info.producer,
            split=info.split,
            missing=info.missing,
        )
        self.layers[key] = layer
        return layer

    def missing(
        self, modules_run: Collection[int], modules_evaluated: Collection[int], *, forward_ran: bool
    ) -> list[LayerRecorder]:
        """Return the layers that a sampled step should have recorded and did not.

        Their module ran, in training mode, and none of its activations was observed; or no forward was observed at
        all, though the optimizer stepped; or their module is in eval mode, but not the one before it, which still
        trains. A layer whose module did not run (routing, alternation) or is frozen in eval mode is not missing.
        """
        recorded = {layer.module_id for layer in self.layers.values() if layer.is_recorded}
        missing = []
        for layer in self.layers.values():
            if not layer.can_die or not layer.module_id or layer.module_id in recorded:
                continue
            still_trains = layer.module_id in modules_evaluated and layer.producer_trains
            if layer.module_id in modules_run or still_trains or not forward_ran:
                missing.append(layer)
        return missing

    def _number(self, call: ActivationCall, recent: RecentOutputs) -> int:
        """Return the number of an activation in its module, the same for every time step of a recurrent use.

        What the same producer returned is the same layer. Where no producer is known, the call site and the layer that
        ran before it decide.
        """
        source = call.source
        if source is not None:
            # A module of torch has one weight; one with a forward of its own may call ``linear`` with several.
            is_plain = is_producer(source.module) or not isinstance(source.weight, nn.Parameter)
            weight = 0 if is_plain else id(source.weight)
            signature: tuple[object, ...] = (id(call.module), call.activation.name, id(source.module), weight)
        else:
            origin = (recent.last_module, recent.last_weight, call_site())
            signature = (id(call.module), call.activation.name, *origin)
        number = self._numbers.get(signature)
        if number is None:
            if self._counts[id(call.module)] >= MAX_SITES:
                return 0
            self._counts[id(call.module)] += 1
            number = self._counts[id(call.module)]
            self._numbers[signature] = number
        return number

    def _add(self, site: _Site, call: ActivationCall, recent_outputs: RecentOutputs) -> LayerRecorder | None:
        """Create the recorder of a layer at its first use; None if it is no layer."""
        name = self.names.activation_name(call.module, call.activation, site[1])
        if name is None:
            self._ignored.add((*site, call.z.dim()))
            return None
        latest = recent_outputs.latest()
        axis = _unit_axis(call, latest) if call.activation.can_die else -1
        reason = TOO_MANY_SITES if not site[1] else _unseen_reason(call, axis)
        if call.activation.can_die and (axis is None or reason is not None):
            self._ignored.add((*site, call.z.dim()))
            self.modules_called.add(site[0])
            if reason is not None:
                self.unseen[name] = reason
            elif not any(key[:2] == site for key in self.layers):
                self.left_out[name] = ONE_DIMENSIONAL if call.z.dim() == 1 else NOT_UNITS
            return None
        return self._create(site, name, call, axis or 0, latest)

    def _create(
        self, site: _Site, name: str, call: ActivationCall, axis: int, latest: Sequence[ModuleOutput]
    ) -> LayerRecorder:
        z = call.z
        earlier = site in self._axes
        self._axes[site] = axis
        units = z.shape[axis]
        if earlier and call.activation.can_die:
            name = f"{name}@{units}"
        info = find_producer(z, call.source, latest, self.names.path)
        is_last = axis % z.dim() == z.dim() - 1
        layer = LayerRecorder(
            layer_id=len(self.layers) + 1,
            name=name,
            activation=call.activation.name,
            can_die=call.activation.can_die,
            units=units,
            channels_first=not is_last,
            has_positions=z.dim() + call.plain.batch_dims > 2,
            module_id=site[0],
            counts_positions=_counts_positions(call, axis),
            producer=info.producer,
            producer_name=None if info.producer is None else self.names.path(info.producer),
            fan_in=info.fan_in,
            split=info.split,
            missing=info.missing if call.activation.can_die else [],
        )
        self.layers[(*site, units if call.activation.can_die else 0)] = layer
        return layer


def _unit_axis(call: ActivationCall, latest: Sequence[ModuleOutput]) -> int | None:
    """Return the axis of the units, -1 for the last and 1 for channels, or None if none is known."""
    z = call.z
    axis = known_axis(call.source)
    if axis is not None:
        return axis if -z.dim() <= axis < z.dim() else None
    if call.plain.batch_dims:
        return None
    if z.dim() == 1 and call.examples not in {None, 1}:  # the examples were reduced away
        return None
    axis = feature_axis(z)
    if axis is not None:
        return 1 if axis == 1 and z.dim() > 2 else axis - z.dim()
    return _presumed_axis(z, call.source, latest) if z.dim() > 1 else None


def _presumed_axis(z: Tensor, source: ModuleOutput | None, latest: Sequence[ModuleOutput]) -> int | None:
    """Return the axis of the units where no graph shows it."""
    # A layer of a kind of its own, as for quantized weights.
    if source is not None and source.weight is not None and not source.function:
        return 1 if z.dim() >= 4 else -1
    if z.grad_fn is None:  # frozen, or recomputed later: there is no graph, but layers of this shape ran before it
        return _axis_of_same_shape(z, latest)
    if not has_readable_graph(z):  # a torch whose graph has no shapes
        return 1 if z.dim() >= 4 else -1
    return None


def _axis_of_same_shape(z: Tensor, latest: Sequence[ModuleOutput]) -> int | None:
    for recent in reversed(latest):
        if recent.output.shape == z.shape and (recent.function or has_units(recent.module)):
            return known_axis(recent)
    return None


def _unseen_reason(call: ActivationCall, axis: int | None) -> str | None:
    """Return why an activation that may well have units cannot be observed, or None."""
    if call.activation is THRESHOLDED:
        return OTHER_THRESHOLD
    if call.plain.tensor is None:
        return f"not observed: {call.plain.reason}"
    if not call.plain.batch_dims:
        return None
    weight = call.source.weight if call.source is not None else None
    if isinstance(weight, Tensor) and unwrap(weight).batch_dims:
        return f"not observed: {ENSEMBLE}"
    return None if axis is not None else f"not observed: {VMAPPED}"


def _counts_positions(call: ActivationCall, axis: int) -> bool:
    """Return True if the first axis of the pre-activation does not hold the examples of the model's input."""
    z = call.plain.tensor
    if call.examples is None or z is None:
        return False
    is_single = z.dim() == 1 or (axis % call.z.dim() == 0 and not call.plain.batch_dims and z.dim() > 2)
    if is_single:
        return call.examples != 1
    first = 1 if z.dim() == 2 and axis % call.z.dim() == 0 else 0
    return z.shape[first] != call.examples


def _arranged(plain: Unwrapped, axis: int, dims: int) -> tuple[Tensor, int]:
    """Return the pre-activation with its units along axis 1 or the last, and which of them it is."""
    z = plain.tensor
    if z is None:
        raise TypeError("a tensor that cannot be read has no axes")
    z = z.detach()
    dim = axis % dims + plain.batch_dims
    if dim == z.dim() - 1:
        return z, dim
    if dim == 0 and z.dim() == 2:
        return z.t(), 1
    if dim == 0:  # one example without a batch axis
        return z.unsqueeze(0), 1
    if plain.batch_dims:
        return z.flatten(0, dim - 1), 1
    return (z, 1) if dim == 1 else (z.movedim(dim, 1), 1)
