"""What brings units back. Each remedy says what it did as a value: every layer, unit and parameter it touched.

A name that ends in ``_`` changes the model in place. None of them changes anything but what it says.
"""

from relumine.remedies._applied import Applied, Change
from relumine.remedies._bias import reset_bias_
from relumine.remedies._rates import lower_learning_rate
from relumine.remedies._replace import replace_relu_
from relumine.remedies._revive import revive_

__all__ = [
    "Applied",
    "Change",
    "lower_learning_rate",
    "replace_relu_",
    "reset_bias_",
    "revive_",
]
