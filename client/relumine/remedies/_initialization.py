"""Reinitialization of whole layers: randomized asymmetric weights before a training, and He's for oversized layers.

Randomized asymmetric initialization (Lu, Shin, Su, Karniadakis, "Dying ReLU and Initialization", arXiv 1903.06733)
makes narrow deep nets less likely to be born dead. It does not suit every net, and warns where it does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._analysis import born_dead
from relumine._analysis.born_dead import ASYMMETRIC_MAX_DEPTH, ASYMMETRIC_SCALE, RISK_LINE_MIN, he_std
from relumine._analysis.survey import ReluInfo, ReluSurvey, max_difference
from relumine._runtime.text import join_names, plural
from relumine._torch.forward import Inputs
from relumine._torch.modules import NORM_MODULES, as_patterns, linear_layers, matches, unwrap_model
from relumine._torch.tensors import is_local_dense
from relumine.alert_actions import Change, RemedyResult
from relumine.remedies._optimizer_state import reset_state
from relumine.remedies._parameter_edit import root_mean_square

OVERSIZED_FACTOR = 1.8
"""How many times the size that He initialization gives makes a layer oversized."""
HE_SUFFICES = "He initialization is sufficient"


def redraw_oversized_(
    model: nn.Module, inputs: Inputs, optimizer: Optimizer | None = None, *, generator: torch.Generator | None = None
) -> RemedyResult:
    """Reinitialize Linear layers and convolutions whose weights are far larger than He's, with biases 0, in place.

    Layers whose size a normalization removes, frozen and sharded layers stay unchanged. The optimizer's moments of the
    new parameters are reset; the output changes. Nothing changes where no layer is oversized.

    Args:
        model: the module; it may be wrapped by torch.compile.
        inputs: the arguments of its forward, as for ``revive_``.
        optimizer: the optimizer whose moments are reset.
        generator: random generator of the weights; by default torch's own.
    """
    survey = ReluSurvey(model, inputs)
    relus, previous_output = survey.run()
    layers = _oversized_layers(survey.model, relus)
    if not layers:
        return RemedyResult("revive_", 0.0, "no layer is oversized", ())
    masks: dict[nn.Parameter, Tensor] = {}
    changes: list[Change] = []
    for name, layer in layers.items():
        for label, parameter in layer.named_parameters(recurse=False):
            changes.append(_redraw_he(name, label, parameter, generator))
            masks[parameter] = torch.ones_like(parameter, dtype=torch.bool)
    notes: list[str] = []
    if optimizer is not None:
        state_changes, notes = reset_state(optimizer, masks, survey.labels)
        changes += state_changes
    torch.clear_autocast_cache()
    _, output = survey.run()
    return RemedyResult(
        action="revive_",
        value=float(len(layers)),
        text=f"reinitialized {plural(len(layers), 'oversized layer')}: {join_names(list(layers))}",
        changes=tuple(changes),
        notes=tuple(notes),
        output_change=max_difference(previous_output, output),
    )


def has_oversized(model: nn.Module, inputs: Inputs) -> bool:
    """Return True if ``redraw_oversized_`` would reinitialize a layer."""
    survey = ReluSurvey(model, inputs)
    relus, _ = survey.run()
    return bool(_oversized_layers(survey.model, relus))


def _oversized_layers(root: nn.Module, relus: Mapping[str, ReluInfo]) -> dict[str, nn.Module]:
    normalized = set()
    for relu in relus.values():
        if relu.path is not None and relu.path.norm is not None:
            normalized.add(id(relu.path.weight))
    return {name: module for name, module in linear_layers(root) if _is_oversized(module.weight, normalized)}


def _is_oversized(weight: object, normalized: Collection[int]) -> bool:
    if not isinstance(weight, nn.Parameter) or not is_local_dense(weight) or not weight.requires_grad:
        return False
    if id(weight) in normalized:
        return False
    return root_mean_square(weight) > OVERSIZED_FACTOR * he_std(weight.shape)


def _redraw_he(name: str, label: str, parameter: nn.Parameter, generator: torch.Generator | None) -> Change:
    """Draw weights from He's distribution, set a bias to 0.

    ``nn.init.kaiming_normal_`` draws on the parameter's device and in its type: it takes no CPU generator for a
    parameter on an accelerator, and would give other weights there for the same seed.
    """
    previous = root_mean_square(parameter)
    with torch.no_grad():
        if parameter.dim() > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * he_std(parameter.shape))
        else:
            parameter.zero_()
    return Change(name, label, None, previous, root_mean_square(parameter))


def randomized_asymmetric_init_(
    model: nn.Module,
    *,
    layers: str | Iterable[str] | None = None,
    inputs: Inputs | None = None,
    generator: torch.Generator | None = None,
) -> RemedyResult:
    """Reinitialize Linear and Conv1d/2d/3d layers with the randomized asymmetric weights of Lu et al., in place.

    In each layer weights and biases together are normal with variance 0.6007²/fan_in. In each unit one of them, chosen
    at random, the bias among them, is drawn from Beta(2, 1) instead.

    It is for narrow and rather deep nets without normalization and residual connections. It warns in other cases: where
    nets of these widths are hardly ever born dead, beyond 20 ReLU layers, where it makes the output constant, and where
    normalization or residual connections undo it.

    Args:
        model: the module, before its training.
        layers: glob patterns of the paths of Linear and convolution modules; by default all.
        inputs: the arguments of its forward, to look for residual connections with.
        generator: random generator of the weights; by default one that is seeded from torch's own.

    Raises:
        ValueError: there is no such layer, or its weights are sharded or computed. Nothing was changed then.
    """
    root = unwrap_model(model)
    chosen = _chosen_layers(root, layers)
    if not chosen:
        raise ValueError("no Linear or convolution to initialize" if layers is None else f"no layer is called {layers}")
    if generator is None:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    doubts = list(_doubts(root, list(chosen.values()), inputs))
    changes: list[Change] = []
    for name, layer in chosen.items():
        changes += _redraw_asymmetric(name, layer, generator)
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)
    notes = [f"{name} has no bias" for name, layer in chosen.items() if layer.bias is None]
    text = f"reinitialized {plural(len(chosen), 'layer')} with asymmetric weights: {join_names(list(chosen))}"
    return RemedyResult("randomized_asymmetric_init", ASYMMETRIC_SCALE, text, tuple(changes), (*doubts, *notes))


def _chosen_layers(root: nn.Module, layers: str | Iterable[str] | None) -> dict[str, nn.Module]:
    patterns = as_patterns(layers)
    chosen = {name: module for name, module in linear_layers(root) if matches(name, patterns)}
    for name, module in chosen.items():
        if not isinstance(module.weight, nn.Parameter) or not is_local_dense(module.weight):
            raise ValueError(f"the weights of {name} are sharded or computed: they cannot be reinitialized")
    return chosen


def _redraw_asymmetric(name: str, layer: nn.Module, generator: torch.Generator) -> Iterator[Change]:
    weight = layer.weight
    bias = layer.bias
    if not isinstance(weight, Tensor):
        return
    weights, biases = born_dead.randomized_asymmetric(1, tuple(weight.shape), generator, biased=bias is not None)
    for label, parameter, values in (("weight", weight, weights[0]), ("bias", bias, biases[0])):
        if isinstance(parameter, Tensor):
            previous = root_mean_square(parameter)
            with torch.no_grad():
                parameter.copy_(values)
            yield Change(name, label, None, previous, root_mean_square(parameter))


def _doubts(root: nn.Module, layers: Sequence[nn.Module], inputs: Inputs | None) -> Iterator[str]:
    """Yield the reasons why this initialization may not suit the model."""
    widths = [layer.weight.shape[0] for layer in layers[:-1] if isinstance(layer.weight, Tensor)]
    risk = born_dead.upper_bound(widths)
    if risk < RISK_LINE_MIN:
        yield f"at most {100 * risk:.2g} % of nets of these widths are born dead: {HE_SUFFICES}"
    if len(widths) > ASYMMETRIC_MAX_DEPTH:
        yield f"over {len(widths)} layers it damps differences between inputs: outputs may be constant"
    norms = [type(module).__name__ for module in root.modules() if isinstance(module, NORM_MODULES)]
    if norms:
        yield f"{norms[0]} undoes it: it centers the units that the asymmetry shifted"
    if inputs is not None and _has_sums(root, inputs):
        yield f"residual connections carry the signal past dead layers: {HE_SUFFICES}"


def _has_sums(root: nn.Module, inputs: Inputs) -> bool:
    relus, _ = ReluSurvey(root, inputs).run()
    return any(relu.in_sum for relu in relus.values())
