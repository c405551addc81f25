"""Remedies against dying units. Each returns a ``RemedyResult`` with every layer, unit and parameter that it changed.

A name that ends in ``_`` changes the model in place. They run in the training thread, and may import ``_analysis``,
``_torch``, ``_runtime``, ``alert_actions`` and ``schemas``.
"""

from relumine.alert_actions import RETRY_LATER, Change, RemedyResult, RetryLater
from relumine.remedies._bias import reset_bias_
from relumine.remedies._initialization import randomized_asymmetric_init_
from relumine.remedies._learning_rate import lower_learning_rate
from relumine.remedies._on_alert.handler import LogEntry, RemedyHandler, apply
from relumine.remedies._replace_relu import replace_relu_
from relumine.remedies._revive import revive_
from relumine.remedies._weight_decay import lower_weight_decay

__all__ = [
    "RETRY_LATER",
    "Change",
    "LogEntry",
    "RemedyHandler",
    "RemedyResult",
    "RetryLater",
    "apply",
    "lower_learning_rate",
    "lower_weight_decay",
    "randomized_asymmetric_init_",
    "replace_relu_",
    "reset_bias_",
    "revive_",
]
