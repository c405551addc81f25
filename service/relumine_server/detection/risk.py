"""How likely a layer is on its way to being lost: a logistic model of five numbers, each with a meaning of its own.

Published rules are thresholds on what is dead already. Before that the weakest tenth of the units comes close to
silence, an update takes much of what they have left, a learning rate or a bias leaves its own history. Weights are
fitted on the tune half of the corpus and on drawn recipes, never on the half that is reported
(``benchmarks/detection/fit.py``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from relumine_server.detection.state import LayerMemory, RunMemory

LEAST_KILL = 1e-2


class Signs(NamedTuple):
    """What the model reads of a layer at one look.

    ``dying``: share of the units that could be lost whose silence is beyond chance. ``headroom_trend``: how far the
    batch maximum of the weakest tenth lies above zero, and ``bias_trend``: the mean bias, both in standard deviations
    of the unit and against the layer's own past. ``kill``: log10 of the kill ratio, at least -2: a dead layer is moved
    by nothing. ``rate_trend``: log of the learning rate against its own past.
    """

    dying: float
    headroom_trend: float
    kill: float
    rate_trend: float
    bias_trend: float


INTERCEPT = -0.26
WEIGHTS = Signs(dying=7.24, headroom_trend=-0.55, kill=1.76, rate_trend=1.09, bias_trend=-0.60)


def signs(memory: LayerMemory, run: RunMemory) -> Signs:
    """The numbers of a layer after its latest look; what is not known is 0: as usual."""
    return Signs(
        memory.lost,
        _known(memory.headroom - memory.usual_headroom),
        math.log10(max(_known(memory.kill_ratio), LEAST_KILL)),
        rate_trend(run),
        _known(memory.bias_sigma - memory.usual_bias_sigma),
    )


def risk(found: Signs) -> float:
    """Probability in [0, 1] that the layer is being lost, by the fitted model."""
    weighed = INTERCEPT + sum(weight * value for weight, value in zip(WEIGHTS, found, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, weighed))))


def rate_trend(run: RunMemory) -> float:
    """Log of the present learning rate over what is usual of it, in [-4, 4]."""
    if run.rate is None or run.rate <= 0 or run.usual_log_rate is None:
        return 0.0
    return max(-4.0, min(4.0, math.log(run.rate) - run.usual_log_rate))


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value
