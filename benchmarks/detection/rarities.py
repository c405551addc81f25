"""Exact 95 % intervals of small counts: Garwood's for a Poisson mean, Clopper and Pearson's for a share."""

from __future__ import annotations

import math
from collections.abc import Callable

TAIL = 0.025


def poisson_interval(count: int) -> tuple[float, float]:
    """Of the mean behind a count."""
    most = 2 * count + 20.0
    low = _where(lambda mean: 1 - _poisson(count - 1, mean) - TAIL, 0.0, most) if count else 0.0
    return low, _where(lambda mean: TAIL - _poisson(count, mean), 0.0, most)


def binomial_interval(count: int, whole: int) -> tuple[float, float]:
    """Of the share behind ``count`` of ``whole``."""
    low = _where(lambda share: 1 - _binomial(count - 1, whole, share) - TAIL, 0.0, 1.0) if count else 0.0
    high = _where(lambda share: TAIL - _binomial(count, whole, share), 0.0, 1.0) if count < whole else 1.0
    return low, high


def _poisson(count: int, mean: float) -> float:
    """Chance of at most ``count``."""
    if not mean:
        return 1.0
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _binomial(count: int, whole: int, share: float) -> float:
    """Chance of at most ``count`` of ``whole``."""
    return sum(math.comb(whole, k) * share**k * (1 - share) ** (whole - k) for k in range(count + 1))


def _where(rises: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return (low + high) / 2
