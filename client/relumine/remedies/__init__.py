"""What brings units back. Each remedy says what it did as a value: every layer, unit and parameter it touched.

A name that ends in ``_`` changes the model in place. None of them changes anything but what it says.
"""

from relumine._applied import Applied, Change
from relumine.remedies._apply import Apply, LogEntry, apply
from relumine.remedies._asymmetric import randomized_asymmetric_init_
from relumine.remedies._bias import reset_bias_
from relumine.remedies._decay import lower_weight_decay
from relumine.remedies._rates import lower_learning_rate
from relumine.remedies._replace import replace_relu_
from relumine.remedies._revive import revive_

__all__ = [
    "Applied",
    "Apply",
    "Change",
    "LogEntry",
    "apply",
    "lower_learning_rate",
    "lower_weight_decay",
    "randomized_asymmetric_init_",
    "replace_relu_",
    "reset_bias_",
    "revive_",
]
