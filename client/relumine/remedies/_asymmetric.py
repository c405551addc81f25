"""Randomized asymmetric initialization, after Lu, Shin, Su, Karniadakis, "Dying ReLU and Initialization" (1903.06733).

It makes narrow deep nets less likely to be born dead. It is no initialization for any net, and says where it is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from relumine import _birth, _shift
from relumine._applied import Applied, Change, listed, plural
from relumine._discover import matches
from relumine._report import SHALLOW, SMALL
from relumine.remedies._survey import Inputs, Survey, inner, linear_layers
from relumine.remedies._work import root_mean_square

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


def randomized_asymmetric_init_(
    model: nn.Module,
    *,
    layers: str | Iterable[str] | None = None,
    inputs: Inputs | None = None,
    generator: torch.Generator | None = None,
) -> Applied:
    """Draw the weights and biases of Linear and Conv1d/2d/3d layers anew, in place, as Lu et al. propose.

    In each layer weights and biases together are normal with variance 0.6007²/fan_in, and in each unit one of them,
    chosen at random, the bias among them, is drawn from Beta(2, 1) instead.

    It is for narrow and rather deep nets without normalisation and residual sums. For others this warns: where nets of
    these widths are hardly ever born dead, beyond 20 ReLU layers, where it makes the output constant, and where
    normalisation or sums undo it.

    Args:
        model: the module, before its training.
        layers: glob patterns of the paths of Linear and convolution modules; by default all.
        inputs: what its forward takes; with it residual sums are looked for.
        generator: for the draws; by default one that torch's own seeds.

    Raises:
        ValueError: there is no such layer, or its weights are sharded or computed. Nothing was changed then.
    """
    root = inner(model)
    chosen = dict(_chosen(root, layers))
    if not chosen:
        raise ValueError("no Linear or convolution to initialize" if layers is None else f"no layer is called {layers}")
    if generator is None:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    warned = list(_doubts(root, list(chosen.values()), inputs))
    changes = [change for name, layer in chosen.items() for change in _draw(name, layer, generator)]
    for text in warned:
        warnings.warn(text, stacklevel=2)
    notes = [f"{name} has no bias" for name, layer in chosen.items() if layer.bias is None]
    text = f"drew the weights of {plural(len(chosen), 'layer')} anew, asymmetric: {listed(list(chosen))}"
    return Applied("randomized_asymmetric_init", _birth.ASYMMETRIC, text, tuple(changes), (*warned, *notes))


def _chosen(root: nn.Module, layers: str | Iterable[str] | None) -> Iterator[tuple[str, nn.Module]]:
    patterns = None if layers is None else [layers] if isinstance(layers, str) else list(layers)
    for name, module in linear_layers(root):
        if patterns is not None and not matches(name, patterns):
            continue
        if not isinstance(module.weight, nn.Parameter) or not _shift.is_plain(module.weight):
            raise ValueError(f"the weights of {name} are sharded or computed: they cannot be drawn anew")
        yield name, module


def _draw(name: str, layer: nn.Module, generator: torch.Generator) -> Iterator[Change]:
    weight, bias = layer.weight, layer.bias
    if not isinstance(weight, Tensor):
        return
    weights, biases = _birth.randomized_asymmetric(1, tuple(weight.shape), generator, biased=bias is not None)
    for label, parameter, drawn in (("weight", weight, weights[0]), ("bias", bias, biases[0])):
        if isinstance(parameter, Tensor):
            before = root_mean_square(parameter)
            with torch.no_grad():
                parameter.copy_(drawn)
            yield Change(name, label, None, before, root_mean_square(parameter))


def _doubts(root: nn.Module, layers: Sequence[nn.Module], inputs: Inputs | None) -> Iterator[str]:
    """Why this initialization may be the wrong one here."""
    widths = [layer.weight.shape[0] for layer in layers[:-1] if isinstance(layer.weight, Tensor)]
    risk = _birth.upper_bound(widths)
    if risk < SMALL:
        yield f"at these widths at most {100 * risk:.2g} % of nets are born dead anyway: He's initialization will do"
    if len(widths) > SHALLOW:
        yield f"over {len(widths)} layers it shrinks what the input makes of a difference: outputs may be constant"
    norms = [type(module).__name__ for module in root.modules() if isinstance(module, NORMS)]
    if norms:
        yield f"{norms[0]} undoes it: it centres what the asymmetry shifted"
    if inputs is not None and _has_sums(root, inputs):
        yield "residual sums carry the signal past dead layers: He's initialization will do"


def _has_sums(root: nn.Module, inputs: Inputs) -> bool:
    found, _ = Survey(root, inputs).look()
    return any(one.sums for one in found.values())
