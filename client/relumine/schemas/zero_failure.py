"""The zero-failure test: how many examples without an activation confirm that a unit is dead.

The detector and the SDK's own numbers share it.
"""

from __future__ import annotations

import math

# Chance of one wrongly confirmed unit in a layer.
ALPHA = 0.05
# In an ordinary layer a unit that is active less often than this is as good as dead.
DEAD_RATE = 0.01
# In a sparse layer a unit is as good as dead when it is active so many times less often than the median unit.
DEAD_RATE_DIVISOR = 20.0
# Positions of one example are alike: so many count as one where examples cannot be told apart.
POSITIONS_DESIGN_EFFECT = 10.0
# A unit that was never active: by the rule of three its rate is below 1.5 % after so many examples.
BORN_DEAD_EXAMPLES = 200
# How unlikely a silence must be at the unit's own rate, in nats, and how much longer than the longest earlier one.
SILENCE_NATS = 10.0
SILENCE_FACTOR = 1.25
# A unit that is nearly always active is no better known than one active on every other example.
RATE_CAP = 0.5


def examples_until_dead(
    units: int,
    median_rate: float,
    *,
    design_effect: float = 1.0,
    alpha: float = ALPHA,
    dead_rate: float = DEAD_RATE,
    dead_rate_divisor: float = DEAD_RATE_DIVISOR,
) -> float:
    """Return the examples in silence that confirm a unit of a layer dead: (1 - p0)^n <= alpha / J.

    J is the number of ``units``. p0, the rate that is as good as dead, follows from ``median_rate``, the median active
    rate of those units that were ever active; NaN where none was. ``design_effect`` is the number of counted examples
    that are worth one independent example.
    """
    typical_rate = 1.0 if math.isnan(median_rate) else median_rate
    rate = min(dead_rate, typical_rate / dead_rate_divisor)
    return design_effect * activations_until_comparable(units, alpha) / max(rate, 1e-9)


def activations_until_comparable(units: int, alpha: float = ALPHA) -> float:
    """Return the activations per unit of a layer after which chance no longer explains that others had none.

    A unit of their rate p is silent on n examples with probability (1 - p)^n, which is alpha / J where p·n is
    ln(J / alpha).
    """
    return math.log(units / alpha)
