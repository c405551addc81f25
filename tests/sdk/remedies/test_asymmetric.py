"""The weights have the published distribution, and a warning says where the initialization does not suit a model."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from scipy import stats
from torch import nn

import relumine
from relumine._analysis import born_dead
from relumine.remedies._initialization import randomized_asymmetric_init_
from tests.helpers.dying_models import ResNet

P_MIN = 1e-3  # a correct sampler fails a test at this level once in a thousand seeds; the seeds are fixed

LAYERS = {
    "Linear": (lambda: nn.Linear(4, 20_000), 4),
    "Conv1d": (lambda: nn.Conv1d(2, 20_000, 3), 6),
    "Conv2d": (lambda: nn.Conv2d(4, 20_000, (2, 3), groups=2), 12),
}


def narrow(depth=9, width=2, *, bias=True):
    """Return a net of the kind that the initialization is for."""
    layers = [nn.Linear(1, width, bias=bias)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width, bias=bias)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(width, 1, bias=bias))


def is_constant(outputs):
    return bool((outputs == outputs[0]).all())


def initialized_rows(build):
    """Initialize one layer, and return a row of weights and bias per unit."""
    layer = build()
    with pytest.warns(UserWarning, match="He initialization is sufficient"):
        randomized_asymmetric_init_(nn.Sequential(layer), generator=torch.Generator().manual_seed(2))
    return torch.cat([layer.weight.detach().flatten(1), layer.bias.detach()[:, None]], 1).double().numpy()


def mixture(fan_in):
    """Return the distribution function of one entry: one of fan_in + 1 is from Beta(2, 1), the others are normal."""
    normal, beta = stats.norm(scale=0.6007 / math.sqrt(fan_in)), stats.beta(2, 1)
    return lambda x: (fan_in * normal.cdf(x) + beta.cdf(x)) / (fan_in + 1)


@pytest.mark.parametrize("kind", LAYERS)
def test_each_entry_including_the_bias_has_the_published_distribution(kind):
    build, fan_in = LAYERS[kind]
    rows = initialized_rows(build)
    assert rows.shape[1] == fan_in + 1
    for index in range(fan_in + 1):
        assert stats.kstest(rows[:, index], mixture(fan_in)).pvalue > P_MIN


def test_exactly_one_entry_of_each_unit_is_from_beta_and_each_is_equally_likely():
    """In such a wide layer the normal entries are so small that the one from Beta stands out."""
    layer = nn.Linear(10_000, 3_000)
    with pytest.warns(UserWarning, match="is sufficient"):
        randomized_asymmetric_init_(nn.Sequential(layer), generator=torch.Generator().manual_seed(4))
    rows = torch.cat([layer.weight.detach(), layer.bias.detach()[:, None]], 1).double()
    largest, index = rows.max(1)
    others = rows.scatter(1, index[:, None], float("nan")).flatten()
    others = others[~others.isnan()][::97]
    clear = largest > 0.05  # eight standard deviations of a normal entry; of Beta(2, 1) it is 99.75 %
    assert clear.double().mean() > 0.99
    above = stats.beta(2, 1)
    fit = stats.kstest(largest[clear].numpy(), lambda x: (above.cdf(x) - above.cdf(0.05)) / (1 - above.cdf(0.05)))
    assert fit.pvalue > P_MIN
    assert stats.kstest(others.numpy(), stats.norm(scale=0.6007 / 100).cdf).pvalue > P_MIN
    assert stats.kstest(index[clear].numpy() / 10_000, "uniform").pvalue > P_MIN


def test_in_a_narrow_layer_each_entry_is_equally_likely_too():
    generator = torch.Generator().manual_seed(5)
    weights, biases = born_dead.randomized_asymmetric(1, (60_000, 3), generator)
    rows = torch.cat([weights[0], biases[0][:, None]], 1)
    counts = (rows > 3 * 0.6007 / math.sqrt(3) * 0.8).sum(0)  # rarely reached by a normal entry, often by one from Beta
    assert stats.chisquare(counts.numpy()).pvalue > P_MIN


def test_the_second_moment_of_a_unit_does_not_grow():
    s, mean, square = 0.6007, 2 / 3, 1 / 2
    assert s**2 / 2 + mean * math.sqrt(2 / math.pi) * s + square == pytest.approx(1.0, abs=1e-4)


def test_without_a_bias_the_entry_from_beta_is_a_weight_and_no_bias_is_added():
    model = narrow(width=64, bias=False, depth=2)
    with pytest.warns(UserWarning, match="is sufficient"):
        result = randomized_asymmetric_init_(model, generator=torch.Generator().manual_seed(1))
    assert all("bias" not in name for name, _ in model.named_parameters())
    assert "0 has no bias" in result.notes
    largest = model[2].weight.detach().max(1).values
    assert stats.kstest(largest.clamp_min(0.4).numpy(), lambda x: x.clip(0.4) ** 2).statistic < 0.2


@pytest.mark.parametrize(("width", "published"), [(2, 0.2391), (4, 0.0188)])
def test_nets_with_these_weights_are_born_dead_at_the_expected_rate(width, published):
    """Fractions of 20,000 nets with 9 hidden layers, drawn by other code."""
    layers = [born_dead.StackLayer((width, 1), born_dead.randomized_asymmetric)]
    layers += [born_dead.StackLayer((width, width), born_dead.randomized_asymmetric)] * 8
    grid = torch.linspace(-math.sqrt(3), math.sqrt(3), 64)[:, None]
    estimate = born_dead.estimate(layers, grid, draws=10_000, seed=1)
    other = math.sqrt(published * (1 - published) / 20_000)
    assert abs(estimate.fraction() - published) <= 4 * math.hypot(estimate.standard_error(), other)


def test_a_narrow_net_is_drawn_without_a_word_and_is_less_often_born_dead():
    grid, died = torch.linspace(-1.7, 1.7, 64)[:, None], [0, 0]
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(1)
    for _ in range(60):
        model = narrow()
        died[0] += is_constant(model(grid))
        randomized_asymmetric_init_(model, generator=generator)
        died[1] += is_constant(model(grid))
    assert died[0] > 40
    assert died[1] < 25


def test_only_the_given_layers_are_initialized_and_reported():
    model = narrow()
    initial_state = copy.deepcopy(model.state_dict())
    result = randomized_asymmetric_init_(model, layers=["2", "4"])
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, initial_state[key])}
    assert changed == {"2.weight", "2.bias", "4.weight", "4.bias"}
    reported = [f"{change.target}.{change.parameter}" for change in result.changes]
    assert reported == ["2.weight", "2.bias", "4.weight", "4.bias"]
    assert result.text == "reinitialized 2 layers with asymmetric weights: 2, 4"


def test_the_same_seed_of_torch_or_of_a_generator_gives_the_same_weights():
    def weights(**options):
        model = narrow()
        randomized_asymmetric_init_(model, **options)
        return model[4].weight.detach().clone()

    torch.manual_seed(3)
    first = weights()
    torch.manual_seed(3)
    assert torch.equal(weights(), first)
    first = weights(generator=torch.Generator().manual_seed(8))
    assert torch.equal(weights(generator=torch.Generator().manual_seed(8)), first)


@pytest.mark.parametrize(
    ("build", "options", "doubt"),
    [
        (lambda: narrow(width=64), {}, "at most"),
        (lambda: narrow(depth=25), {}, "over 25 layers it damps"),
        (lambda: nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), narrow()[2:]), {}, "BatchNorm1d undoes it"),
        (ResNet, {"inputs": torch.randn(4, 2, 8, 8)}, "residual connections"),
    ],
)
def test_a_model_that_it_does_not_suit_gives_a_warning_and_a_note(build, options, doubt):
    with pytest.warns(UserWarning) as warnings:  # noqa: PT030 - there are several, all compared below
        result = randomized_asymmetric_init_(build(), **options)
    assert any(doubt in note for note in result.notes)
    assert [str(warning.message) for warning in warnings] == [note for note in result.notes if "no bias" not in note]


def test_layers_that_cannot_be_initialized_are_an_error():
    with pytest.raises(ValueError, match="no layer is called head"):
        randomized_asymmetric_init_(narrow(), layers="head")
    with pytest.raises(ValueError, match="no Linear or convolution"):
        randomized_asymmetric_init_(nn.ReLU())
    model = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"no Linear|computed"):
        randomized_asymmetric_init_(nn.Sequential(model))


def test_check_and_the_remedy_agree_on_where_it_helps():
    report = relumine.check(narrow(), torch.linspace(-1.7, 1.7, 64)[:, None])
    assert any("asymmetric initialization helps" in finding.text for finding in report.findings)
