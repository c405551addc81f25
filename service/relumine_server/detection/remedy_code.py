"""Remedies as functions of ``relumine.remedies`` and as code to paste.

The code uses the names ``model``, ``optimizer`` and ``inputs`` of docs/remedies.md, and imports all else that it needs.
"""

from __future__ import annotations

import json
import re

from relumine.schemas.watching import UnwatchedReason
from relumine_server.detection.findings import Remedy

FUNCTIONS = ("lower_learning_rate", "lower_weight_decay", "replace_relu_", "reset_bias_", "revive_")
"""Actions that are functions of ``relumine.remedies`` under the same name."""
STALL_DUMP_S = 600
"""Seconds after which a training that hangs prints where: longer than most evaluations."""

CLIP_GRADIENT_CODE = """\
import torch
torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)  # between loss.backward() and optimizer.step()"""
NORMALIZE_INPUT_CODE = """\
inputs = (inputs - inputs.mean()) / inputs.std()  # with the mean and std of the training data, for every batch"""
CHECK_LOSS_CODE = """\
for name, parameter in model.named_parameters():  # after the backward of one loss term at a time
    if name.endswith("bias") and parameter.grad is not None:
        print(name, "is pushed down" if parameter.grad.mean() > 0 else "is not pushed down")"""
CHECK_COVERAGE_CODE = """\
import relumine
print(relumine.check(model, inputs))  # the activations that are found, and what is not observed"""
TRAIN_MODE_CODE = """\
model.train()  # after each evaluation, before the next training step"""
CHECK_JOB_CODE = f"""\
import faulthandler, sys
faulthandler.dump_traceback_later({STALL_DUMP_S}, repeat=True, file=sys.__stderr__)  # prints where the job hangs"""


def remedy(action: str, code: str, reason: str, *, parameter: str | None = None, value: float | None = None) -> Remedy:
    """Return a remedy; its function is the one of its own name, if there is one."""
    function = action if action in FUNCTIONS else None
    return Remedy(action=action, function=function, code=code, parameter=parameter, value=value, reason=reason)


def lower_learning_rate_code(value: float | None) -> str:
    """Return the call that lowers the learning rate to a value, without one to a tenth."""
    argument = "factor=0.1" if value is None else _literal(value)
    return _call("lower_learning_rate", "optimizer", argument)


def lower_weight_decay_code(value: float) -> str:
    """Return the call that lowers the weight decay to a value."""
    return _call("lower_weight_decay", "optimizer", f"weight_decay={_literal(value)}")


def revive_code(layer: str | None, *, preserve: bool) -> str:
    """Return the call that revives dead units of a layer, or of all; ``preserve`` as in ``revive_``."""
    options = [] if preserve else ["preserve=False"]
    return _call("revive_", "model", "inputs", "optimizer", *_layers(layer), *options)


def reset_bias_code(layer: str | None) -> str:
    """Return the call that resets the biases of dead units of a layer, or of all."""
    return _call("reset_bias_", "model", "inputs", "optimizer", *_layers(layer))


def replace_relu_code(layer: str | None, negative_slope: float) -> str:
    """Return the call that replaces the ReLU of a layer, or all."""
    return _call("replace_relu_", "model", *_layers(layer), f"negative_slope={_literal(negative_slope)}")


def coverage_code(reason: UnwatchedReason | None = None) -> str:
    """Return code that lets a model be watched again where the reason says how, else code that shows what is found."""
    return TRAIN_MODE_CODE if reason == "eval_mode" else CHECK_COVERAGE_CODE


def _call(function: str, *arguments: str) -> str:
    return f"import relumine\nrelumine.remedies.{function}({', '.join(arguments)})"


def _layers(layer: str | None) -> list[str]:
    """Return the argument that chooses one layer; its name is no pattern."""
    if layer is None:
        return []
    escaped = re.sub(r"([*?[])", r"[\1]", layer)
    return [f"layers={json.dumps(escaped, ensure_ascii=False)}"]


def _literal(value: float) -> str:
    """Return a number as Python source, without the noise of binary fractions."""
    return repr(float(f"{value:.6g}"))
