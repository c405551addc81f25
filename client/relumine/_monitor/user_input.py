"""The input of a training script to its monitor, as it can be sent. What cannot be sent is named once in the log.

A slip of the user's is no internal error: it costs what was passed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from relumine._capture.step_stats import Number
from relumine._runtime.log import logger
from relumine._runtime.sendable import MAX_NAME, UnusableValue, sendable_name
from relumine._torch.tensors import is_readable_later
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import FinalStatus

# Mappings within mappings become names with a slash, down to this depth.
MAX_DEPTH = 8

# So many slips of one run are named: a name that changes at every step must not fill the log.
MAX_NAMED = 100

# No thread may wait longer than about 292 years; a day is enough.
MAX_TIMEOUT_S = 86_400.0


class UserInput:
    """Reads what is passed at run time, and names each slip once."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def name_slip(self, subject: str, problem: str) -> None:
        """Log a slip, unless one of this subject was logged before."""
        if subject in self._named or len(self._named) >= MAX_NAMED:
            return
        self._named.add(subject)
        logger.warning("%s %s", subject, problem)

    def metrics(self, numbers: object, named: Mapping[str, object]) -> dict[str, Number]:
        """Return the numbers to log by their names. Nested mappings give names such as ``val/loss``."""
        metrics: dict[str, Number] = {}
        if numbers is not None and not isinstance(numbers, Mapping):
            self.name_slip(f"log: a {type(numbers).__name__}", "is not logged: pass a mapping of names to numbers")
            numbers = None
        for name, value in (*_flat(numbers or {}), *_flat(named)):
            sendable = sendable_name(name)
            try:
                metrics[_checked_name(sendable)] = as_number(value)
            except UnusableValue as error:
                self.name_slip(f"log: {sendable!r} ({type(value).__name__})", f"is not logged: {error}")
        return metrics

    def step(self, step: object, present: int) -> int:
        """Return ``step`` as a whole number; where it is none that can be sent, the monitor's own."""
        if step is None:
            return present
        number = _whole_number(step)
        if number is not None and 0 <= number <= MAX_STEP:
            return number
        kind = type(step).__name__
        self.name_slip(f"log: the step ({kind})", f"cannot be used: the monitor's own, now {present}, is taken instead")
        return present

    def mark_name(self, name: object) -> str:
        """Return the name of a mark; ``mark`` where it has none."""
        return sendable_name("" if name is None else name, MAX_NAME - len("mark/")) or "mark"

    def seconds(self, timeout: object, default: float) -> float:
        """Return a timeout in seconds; the default where it is not a number."""
        try:
            seconds = float(timeout)  # type: ignore[arg-type]  # whatever the user passed
        except (TypeError, ValueError, OverflowError):
            seconds = -1.0
        if 0 <= seconds <= MAX_TIMEOUT_S:
            return seconds
        self.name_slip(f"timeout={timeout!r}"[:100], f"is not used: {default:g} seconds are")
        return default

    def final_status(self, status: object) -> FinalStatus:
        """Return the final status; ``finished`` where it is none of the two."""
        if status == "failed":
            return "failed"
        if status != "finished":
            self.name_slip(
                f"final_status={status!r}"[:100], "is neither 'finished' nor 'failed': the run ends as finished"
            )
        return "finished"


def as_number(value: object) -> Number:
    """Return a number, or a tensor that holds one and is read later: nothing here waits for a device.

    Raises:
        UnusableValue: it is not one real number.
    """
    if isinstance(value, Tensor):
        return _tensor_number(value)
    if value is None:
        raise UnusableValue("None is not a number")
    dtype = getattr(value, "dtype", None)
    if isinstance(value, complex) or getattr(dtype, "kind", "") == "c":
        raise UnusableValue("a complex number")
    try:
        shape = getattr(value, "shape", ())
        if dtype is not None and len(shape):
            value = _only_element(value, tuple(shape))
        return float(value)  # type: ignore[arg-type]  # whatever the user passed
    except UnusableValue:
        raise
    except Exception as error:
        raise UnusableValue("not a number") from error


def _only_element(array: Any, shape: tuple[int, ...]) -> Any:
    if any(length != 1 for length in shape):
        raise UnusableValue(f"an array of shape {shape}, not one number")
    return array.reshape(())[()]


def _tensor_number(tensor: Tensor) -> Tensor:
    if tensor.numel() != 1:
        raise UnusableValue(f"a tensor of shape {tuple(tensor.shape)}, not one number")
    if tensor.is_complex():
        raise UnusableValue("a complex number")
    if not is_readable_later(tensor):
        raise UnusableValue("a tensor without a value of its own (of torch.func, torch.fx, or on the device meta)")
    return tensor.detach().reshape(()) if tensor.dim() else tensor


def _checked_name(name: str) -> str:
    if not name:
        raise UnusableValue("the name is empty")
    return name


def _flat(numbers: Mapping[Any, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[object, object]]:
    """Yield names and values, those of nested mappings with the names before them."""
    for name, value in list(numbers.items()):
        full = f"{prefix}{sendable_name(name)}" if prefix else name
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            yield from _flat(value, f"{sendable_name(full)}/", depth + 1)
        else:
            yield full, value


def _whole_number(step: object) -> int | None:
    if isinstance(step, Tensor) and (step.device.type != "cpu" or step.numel() != 1 or not is_readable_later(step)):
        return None
    try:
        return int(step)  # type: ignore[call-overload, no-any-return]  # whatever the user passed
    except Exception:  # noqa: BLE001 - as above
        return None
