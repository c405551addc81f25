"""Risk and forecast: how likely a layer is on its way to being lost, and when half of it will be dead.

Both are models fitted to training runs, with few inputs that each have a meaning. Published rules are thresholds on
what is dead already. Before that the weakest tenth of the units comes close to silence, an update takes much of their
headroom, and a learning rate or a bias leaves its usual range.
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

from relumine_server.detection.findings import Forecast
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import LayerMemory, RunMemory

MIN_KILL_RATIO = 1e-2
MAX_LOG_ODDS = 30.0


class RiskFeatures(NamedTuple):
    """Inputs of the risk model, of one layer at one sampled step.

    ``dying``: share of the units that could be lost whose silence is beyond chance, without those lost in the warm-up.
    ``headroom_trend``, of the weakest tenth of the units, and ``bias_trend``, of the mean bias: against the layer's own
    past, in standard deviations of a unit. ``log_kill_ratio``: log10 of the kill ratio, at least -2, as nothing moves a
    dead layer. ``learning_rate_trend``: log of the learning rate over its usual value. ``returned``: the largest share
    of the units that was called lost and came back, as with data in blocks. ``dying_trend``: by how much the share of
    dying units rose within the latest ``TREND_RECORDS`` records.
    """

    dying: float
    headroom_trend: float
    log_kill_ratio: float
    learning_rate_trend: float
    bias_trend: float
    returned: float
    dying_trend: float


TREND_RECORDS = 3
"""Records over which the trend of the share of dying units is taken."""

# Logistic regression on the development splits of the corpus, never on those that are only reported on
# (research/fitting/risk.py).
RISK_INTERCEPT = 0.07
RISK_WEIGHTS = RiskFeatures(
    dying=6.35,
    headroom_trend=-0.60,
    log_kill_ratio=2.04,
    learning_rate_trend=0.88,
    bias_trend=-0.55,
    returned=-4.07,
    dying_trend=1.85,
)


def risk_features(memory: LayerMemory, run: RunMemory) -> RiskFeatures:
    """Return the features of a layer after its latest record; a feature that is not known is 0: as usual."""
    return RiskFeatures(
        dying=max(memory.lost_fraction - memory.early_fraction, 0.0),
        headroom_trend=_known_or_zero(memory.headroom - memory.usual_headroom),
        log_kill_ratio=math.log10(max(_known_or_zero(memory.kill_ratio), MIN_KILL_RATIO)),
        learning_rate_trend=learning_rate_trend(run),
        bias_trend=_known_or_zero(memory.bias_sigma - memory.usual_bias_sigma),
        returned=memory.returned_fraction,
        dying_trend=_dying_trend(memory),
    )


def _dying_trend(memory: LayerMemory) -> float:
    """Return by how much the share of dying units rose in the latest records; 0 while there are fewer."""
    if len(memory.history) <= TREND_RECORDS:
        return 0.0
    _step, earlier, _bias = memory.history[-1 - TREND_RECORDS]
    _step, latest, _bias = memory.history[-1]
    return latest - earlier


def layer_risk(features: RiskFeatures) -> float:
    """Return the probability in [0, 1] that the layer is being lost."""
    log_odds = _linear(RISK_INTERCEPT, RISK_WEIGHTS, features)
    return _logistic(max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, log_odds)))


def log_odds(probability: float) -> float:
    """Return the log odds of a probability, within ``±MAX_LOG_ODDS``."""
    bounded = min(max(probability, math.exp(-MAX_LOG_ODDS)), 1 - 1e-13)
    return math.log(bounded / (1 - bounded))


def learning_rate_trend(run: RunMemory) -> float:
    """Return the log of the present learning rate over its usual value, in [-4, 4]; 0 where it is not known."""
    if run.rate is None or run.rate <= 0 or run.usual_log_rate is None:
        return 0.0
    return max(-4.0, min(4.0, math.log(run.rate) - run.usual_log_rate))


COLLAPSED_FRACTION = 0.5
"""Share of dead units at which a layer has collapsed."""
INTERVAL_CONFIDENCE = 0.8


class ForecastFeatures(NamedTuple):
    """Inputs of the forecast: log odds of the risk, log10 of the kill ratio, headroom, log of the records so far."""

    risk_log_odds: float
    log_kill_ratio: float
    headroom: float
    log_records: float


# A fit to observed times, not an extrapolation (research/fitting/forecast.py): lines through margins or lost shares
# foresaw deaths that never came, and others far too late. The interval is wide because the time is known no better: it
# holds the collapse four times in five, where a layer that never collapses counts as missed. Where a collapse is not
# likely enough for that, there is no forecast.
LOG_STEPS_INTERCEPT = 3.29
LOG_STEPS_WEIGHTS = ForecastFeatures(risk_log_odds=-0.16, log_kill_ratio=-0.68, headroom=0.0, log_records=0.0)
"""Log of the steps until the collapse."""
LOG_STEPS_LOW = -2.18
LOG_STEPS_HIGH = 1.92
"""Scatter of that log: its quantiles at 0.05 and 0.95."""
COLLAPSE_INTERCEPT = 1.28
COLLAPSE_WEIGHTS = ForecastFeatures(risk_log_odds=0.0, log_kill_ratio=1.76, headroom=-0.34, log_records=0.47)
"""Log odds that the collapse comes at all."""


def forecast_features(risk: float, log_kill_ratio: float, headroom: float, records: float) -> ForecastFeatures:
    """Return the features of a layer after ``records`` records; an unknown headroom (NaN) is 0."""
    bounded_risk = min(max(risk, 0.01), 0.99)
    return ForecastFeatures(
        risk_log_odds=math.log(bounded_risk / (1 - bounded_risk)),
        log_kill_ratio=log_kill_ratio,
        headroom=_known_or_zero(headroom),
        log_records=math.log(max(records, 1.0)),
    )


def collapse_probability(features: ForecastFeatures) -> float:
    """Return the probability that half of the layer will be dead some day."""
    return _logistic(_linear(COLLAPSE_INTERCEPT, COLLAPSE_WEIGHTS, features))


def forecast(step: int, lost_fraction: float, features: ForecastFeatures, policy: Policy) -> Forecast | None:
    """Return the step of the collapse; None where half of the layer is lost already or a collapse is not likely."""
    if lost_fraction >= COLLAPSED_FRACTION or collapse_probability(features) < policy.forecast_chance:
        return None
    log_steps = _linear(LOG_STEPS_INTERCEPT, LOG_STEPS_WEIGHTS, features)
    return Forecast(
        step=step + max(round(math.exp(log_steps)), 1),
        low=step + math.floor(math.exp(log_steps + LOG_STEPS_LOW)),
        high=step + math.ceil(math.exp(log_steps + LOG_STEPS_HIGH)),
        confidence=INTERVAL_CONFIDENCE,
        eta_s=None,
    )


def _known_or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _linear(intercept: float, weights: tuple[float, ...], features: tuple[float, ...]) -> float:
    weighted: float = sum(map(operator.mul, weights, features))
    return intercept + weighted


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
