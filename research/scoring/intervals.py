"""Exact 95 % intervals of small counts: Garwood's for a Poisson mean, Clopper and Pearson's for a share."""

from __future__ import annotations

import math
from collections.abc import Callable

TAIL = 0.025


def poisson_interval(count: int) -> tuple[float, float]:
    """Return the interval of the mean behind a count."""
    limit = 2 * count + 20.0
    low = _root(lambda mean: 1 - _poisson_cdf(count - 1, mean) - TAIL, 0.0, limit) if count else 0.0
    return low, _root(lambda mean: TAIL - _poisson_cdf(count, mean), 0.0, limit)


def binomial_interval(count: int, trials: int) -> tuple[float, float]:
    """Return the interval of the share behind ``count`` of ``trials``."""
    low = 0.0
    high = 1.0
    if count:
        low = _root(lambda share: 1 - _binomial_cdf(count - 1, trials, share) - TAIL, 0.0, 1.0)
    if count < trials:
        high = _root(lambda share: TAIL - _binomial_cdf(count, trials, share), 0.0, 1.0)
    return low, high


def _poisson_cdf(count: int, mean: float) -> float:
    """Return the chance of at most ``count``."""
    if not mean:
        return 1.0
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _binomial_cdf(count: int, trials: int, share: float) -> float:
    """Return the chance of at most ``count`` of ``trials``."""
    return sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count + 1))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero."""
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
