"""The name of a layer for people: its module path where that says something, else what it is and where it stands."""

from __future__ import annotations

ACTIVATIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "tapped": "tap",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "hardswish": "Hardswish",
}
"""Activations by the name that the SDK gives them, as PyTorch spells their modules."""
MAX_LABEL_CHARS = 48
"""Characters of a label in a title or a message; a longer one loses its middle."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def layer_label(name: str, activation: str, producer: str | None = None, producer_type: str | None = None) -> str:
    """Return the name of a layer for people.

    ``encoder.act`` says where it is and stays. ``1``, as in ``nn.Sequential``, becomes *layer 1 (ReLU after Linear 0)*.
    A function such as ``relu#2`` is in no module of its own and becomes *relu#2 (after fc1)*.

    Args:
        name: the name that the SDK gave the layer, by which ``layers=`` finds it.
        activation: the kind of the activation, such as ``relu``.
        producer: the path of the module whose output the activation receives.
        producer_type: the class of that module, such as ``Linear``.
    """
    path, number, _ = name.partition("#")
    *parents, last = path.partition("@")[0].split(".")
    is_function = last == activation
    if all(part.isdecimal() for part in ([*parents] if is_function else [*parents, last])):
        kind = "" if is_function else ACTIVATIONS.get(activation, activation)
        note = " ".join(part for part in (kind, _producer_note(producer, producer_type)) if part)
        prefix = "" if is_function and not parents else "layer "
        return f"{prefix}{name} ({note})" if note else f"{prefix}{name}"
    if (is_function or number) and producer:
        return f"{name} (after {producer})"
    return name


def shortened(text: str, limit: int) -> str:
    """Return the text, without its middle where it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head - len(ELLIPSIS)
    return f"{text[:head]}{ELLIPSIS}{text[len(text) - tail :]}"


def _producer_note(producer: str | None, producer_type: str | None) -> str:
    """Return *after fc1* for a path that says something, else *after Linear 0*; nothing for an unknown producer."""
    if not producer:
        return ""
    says_something = not all(part.isdecimal() for part in producer.split("."))
    if says_something or not producer_type:
        return f"after {producer}"
    return f"after {producer_type} {producer}"
