"""The draws have the published distribution, and where the initialization does not apply that is said."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from dying_models import ResNet
from scipy import stats
from torch import nn

import relumine
from relumine import _birth
from relumine.remedies import randomized_asymmetric_init_

P_LEAST = 1e-3  # of a test that a right sampler fails once in a thousand seeds; the seeds are fixed

LAYERS = {
    "Linear": (lambda: nn.Linear(4, 20_000), 4),
    "Conv1d": (lambda: nn.Conv1d(2, 20_000, 3), 6),
    "Conv2d": (lambda: nn.Conv2d(4, 20_000, (2, 3), groups=2), 12),
}


def narrow(depth=9, width=2, *, bias=True):
    """A net for which the initialization is made."""
    layers = [nn.Linear(1, width, bias=bias)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width, bias=bias)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(width, 1, bias=bias))


def is_constant(outputs):
    return bool((outputs == outputs[0]).all())


def drawn(build, layers=None):
    """One layer drawn, as a row of weights and bias per unit."""
    layer = build()
    with pytest.warns(UserWarning, match="He's initialization will do"):
        randomized_asymmetric_init_(nn.Sequential(layer), generator=torch.Generator().manual_seed(2))
    return torch.cat([layer.weight.detach().flatten(1), layer.bias.detach()[:, None]], 1).double().numpy()


def mixture(fan_in):
    """The distribution function of one entry: one of fan_in + 1 is from Beta(2, 1), the others are normal."""
    normal, beta = stats.norm(scale=0.6007 / math.sqrt(fan_in)), stats.beta(2, 1)
    return lambda x: (fan_in * normal.cdf(x) + beta.cdf(x)) / (fan_in + 1)


@pytest.mark.parametrize("kind", LAYERS)
def test_each_entry_has_the_published_distribution_the_bias_too(kind):
    build, fan_in = LAYERS[kind]
    rows = drawn(build)
    assert rows.shape[1] == fan_in + 1
    for place in range(fan_in + 1):
        assert stats.kstest(rows[:, place], mixture(fan_in)).pvalue > P_LEAST


def test_exactly_one_entry_of_each_unit_is_from_beta_and_every_place_is_as_likely():
    """With so wide a layer the normal entries are so small that the one from Beta stands out."""
    layer = nn.Linear(10_000, 3_000)
    with pytest.warns(UserWarning, match="will do"):
        randomized_asymmetric_init_(nn.Sequential(layer), generator=torch.Generator().manual_seed(4))
    rows = torch.cat([layer.weight.detach(), layer.bias.detach()[:, None]], 1).double()
    largest, place = rows.max(1)
    others = rows.scatter(1, place[:, None], float("nan")).flatten()
    others = others[~others.isnan()][::97]
    clear = largest > 0.05  # eight standard deviations of a normal entry; of Beta(2, 1) it is 99.75 %
    assert clear.double().mean() > 0.99
    above = stats.beta(2, 1)
    fit = stats.kstest(largest[clear].numpy(), lambda x: (above.cdf(x) - above.cdf(0.05)) / (1 - above.cdf(0.05)))
    assert fit.pvalue > P_LEAST
    assert stats.kstest(others.numpy(), stats.norm(scale=0.6007 / 100).cdf).pvalue > P_LEAST
    assert stats.kstest(place[clear].numpy() / 10_000, "uniform").pvalue > P_LEAST


def test_in_a_narrow_layer_the_lottery_is_fair():
    generator = torch.Generator().manual_seed(5)
    weights, biases = _birth.randomized_asymmetric(1, (60_000, 3), generator)
    rows = torch.cat([weights[0], biases[0][:, None]], 1)
    counts = (rows > 3 * 0.6007 / math.sqrt(3) * 0.8).sum(0)  # hardly ever reached by a normal entry, often by Beta's
    assert stats.chisquare(counts.numpy()).pvalue > P_LEAST


def test_the_second_moment_of_a_unit_does_not_grow():
    s, mean, square = 0.6007, 2 / 3, 1 / 2
    assert s**2 / 2 + mean * math.sqrt(2 / math.pi) * s + square == pytest.approx(1.0, abs=1e-4)


def test_without_a_bias_the_entry_is_always_a_weight_and_no_bias_appears():
    model = narrow(width=64, bias=False, depth=2)
    with pytest.warns(UserWarning, match="will do"):
        done = randomized_asymmetric_init_(model, generator=torch.Generator().manual_seed(1))
    assert all("bias" not in name for name, _ in model.named_parameters())
    assert "0 has no bias" in done.notes
    largest = model[2].weight.detach().max(1).values
    assert stats.kstest(largest.clamp_min(0.4).numpy(), lambda x: x.clip(0.4) ** 2).statistic < 0.2


@pytest.mark.parametrize(("width", "known"), [(2, 0.2391), (4, 0.0188)])
def test_nets_so_drawn_are_born_dead_as_seldom_as_they_should_be(width, known):
    """Shares of 20,000 nets with 9 hidden layers, drawn by other code."""
    layers = [_birth.Layer((width, 1), _birth.randomized_asymmetric)]
    layers += [_birth.Layer((width, width), _birth.randomized_asymmetric)] * 8
    grid = torch.linspace(-math.sqrt(3), math.sqrt(3), 64)[:, None]
    found = _birth.estimate(layers, grid, draws=10_000, seed=1)
    other = math.sqrt(known * (1 - known) / 20_000)
    assert abs(found.share() - known) <= 4 * math.hypot(found.standard_error(), other)


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


def test_what_was_drawn_is_said_and_only_that_is_changed():
    model = narrow()
    before = copy.deepcopy(model.state_dict())
    done = randomized_asymmetric_init_(model, layers=["2", "4"])
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"2.weight", "2.bias", "4.weight", "4.bias"}
    told = [f"{change.place}.{change.parameter}" for change in done.changes]
    assert told == ["2.weight", "2.bias", "4.weight", "4.bias"]
    assert done.text == "drew the weights of 2 layers anew, asymmetric: 2, 4"


def test_torch_s_seed_and_a_generator_make_it_the_same_again():
    def weights(**options):
        model = narrow()
        randomized_asymmetric_init_(model, **options)
        return model[4].weight.detach().clone()

    torch.manual_seed(3)
    first = weights()
    torch.manual_seed(3)
    assert torch.equal(weights(), first)
    one, two = (weights(generator=torch.Generator().manual_seed(8)) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("build", "options", "doubt"),
    [
        (lambda: narrow(width=64), {}, "at most"),
        (lambda: narrow(depth=25), {}, "over 25 layers it shrinks"),
        (lambda: nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), narrow()[2:]), {}, "BatchNorm1d undoes it"),
        (ResNet, {"inputs": torch.randn(4, 2, 8, 8)}, "residual sums"),
    ],
)
def test_where_it_does_not_apply_it_warns_and_says_so(build, options, doubt):
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 - which of several it is, is asked below
        done = randomized_asymmetric_init_(build(), **options)
    assert any(doubt in note for note in done.notes)
    assert [str(one.message) for one in warned] == [note for note in done.notes if "no bias" not in note]


def test_what_cannot_be_drawn_is_an_error():
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
