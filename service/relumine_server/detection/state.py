"""The detector's memory of a run between uploads, and its exact serialization.

Plain values: ``detector`` folds records into them. A state that was returned is never changed afterwards.
"""

from __future__ import annotations

import json
import math
import operator
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from relumine.schemas.alert import Cause, Kind, Severity
from relumine.schemas.upload import LayerInfo

Units: TypeAlias = npt.NDArray[np.float32]
"""Statistics of units, of shape (``ROWS``, units)."""

ROWS = 8
ACTIVE, EXAMPLES, SILENT, LONGEST_SILENCE, SHIFT_WEIGHT, SHIFT_INPUT, SHIFT_BIAS, CODE = range(ROWS)
"""Rows of ``Units``. Per unit: fading counts of active examples and of all examples, up to its last activation;
examples since it was last active, and the longest such silence that ended; fading sums of the three parts of the shift
of its mean; its code."""

ALIVE, DYING, DEAD, BORN_DEAD = range(4)
"""Codes of a unit."""
BASELINE_OFFSET = 8
"""Added to the code of a unit that was lost when the baseline was taken: its loss is not reported."""

WINDOW_LENGTH = 51
"""Values kept of each signal of the run."""
HISTORY_LENGTH = 24
"""Records kept in the history of a layer."""
_MAGIC = b"RLD4"


@dataclass(slots=True)
class OpenProblem:
    """A problem that was raised and not resolved. ``step`` is the one at which it was raised."""

    severity: Severity
    cause: Cause
    confidence: float
    step: int


@dataclass(slots=True)
class LayerMemory:
    """Scalars of one layer; NaN where nothing is known yet.

    ``offset`` is the layer's first column in ``DetectorState.units``; ``records`` counts the records that were folded
    in, ``step`` and ``gap_steps`` are those of the latest one. ``usual_…`` are long moving averages of the same value,
    ``…_sigma`` are in standard deviations of a unit's pre-activation. ``initial_weight_scale`` is the norm of the first
    weights over that of He's initialization, ``initial_sigma`` the standard deviation of the median unit's first
    pre-activations. ``lost_fraction`` is the share of the units that could still be lost,
    ``early_fraction`` the part of it that was lost during the warm-up and is not in the baseline.
    ``peak_fraction`` is the largest lost fraction so far, ``returned_fraction`` the largest part that came back since.
    ``onset_step`` is -1 while nothing is going on. ``warning_streak`` counts records that speak for a warning, each by
    its risk, ``calm_streak`` records in a row that speak for its end.
    ``history`` holds (step, lost fraction, mean bias) of the latest records, oldest first.
    """

    info: LayerInfo
    offset: int
    records: float = 0.0
    step: float = -1.0
    gap_steps: float = math.nan
    baseline_fraction: float = math.nan
    early_fraction: float = 0.0
    peak_fraction: float = 0.0
    returned_fraction: float = 0.0
    median_rate: float = math.nan
    kill_ratio: float = math.nan
    peak_displacement: float = math.nan
    age_intervals: float = 0.0
    headroom: float = math.nan
    usual_headroom: float = math.nan
    bias_sigma: float = math.nan
    usual_bias_sigma: float = math.nan
    initial_weight_scale: float = math.nan
    initial_sigma: float = math.nan
    log_weight_norm: float = math.nan
    usual_log_weight_norm: float = math.nan
    risk: float = 0.0
    lost_fraction: float = 0.0
    onset_step: float = -1.0
    warning_streak: float = 0.0
    calm_streak: float = 0.0
    diverged: float = 0.0
    history: tuple[tuple[float, float, float], ...] = ()

    def copy(self) -> LayerMemory:
        """Return a copy: four times as fast as ``copy.copy`` with slots, and there is one per layer and upload."""
        return LayerMemory(*_all_fields(self))

    @property
    def tracked_units(self) -> int:
        """Number of units that are followed one by one: none where the activation cannot die."""
        return self.info.units if self.info.can_die else 0

    @property
    def unit_slice(self) -> slice:
        """Columns of the layer's units in ``DetectorState.units``."""
        return slice(self.offset, self.offset + self.tracked_units)


_all_fields = operator.attrgetter(*(f.name for f in fields(LayerMemory)))


@dataclass(slots=True)
class RunMemory:
    """Signals of the run. ``windows`` holds the latest values of each signal by its name, oldest first.

    ``first_input_rms`` is the root mean square of the first input. ``rate`` is the highest learning rate, ``age`` the
    sampling intervals it has been followed for. ``jump_step`` and ``jump_before``: step of its latest jump, and its
    median before. ``novel_step``: first step of the latest unusual input, ``novelty`` how far it is from usual, in
    robust standard deviations, ``novel_records`` and ``novel_intervals`` for how many records and sampling intervals it
    has lasted, ``familiar_records`` the records since it was over; None where there was none, or it became the usual
    one. ``input_step`` is the step of the latest input, ``is_input_constant`` whether it has lost its spread.
    ``constant_records`` and ``varied_records`` count records with a collapsed and with a usual spread of the output.
    ``clean_steps`` counts sampled steps without a non-finite value since ``diverged_step``, the latest of them at
    ``clean_step``.
    """

    step: int = -1
    windows: dict[str, tuple[float, ...]] = field(default_factory=dict)
    first_input_rms: float | None = None
    rate: float | None = None
    age: float = 0.0
    usual_log_rate: float | None = None
    jump_step: int | None = None
    jump_before: float | None = None
    novel_step: int | None = None
    novelty: float = 0.0
    novel_records: int = 0
    novel_intervals: float = 0.0
    familiar_records: int | None = None
    input_step: int = -1
    is_input_constant: bool = False
    constant_records: int = 0
    varied_records: int = 0
    diverged_step: int | None = None
    clean_step: int = -1
    clean_steps: int = 0


@dataclass(frozen=True, slots=True)
class DetectorState:
    """Everything the detector remembers of a run.

    ``units`` has shape (8, units of all layers that can die), float32: 32 bytes per unit. ``open_problems`` is keyed by
    layer id, 0 for the run, and kind.
    """

    layers: dict[int, LayerMemory]
    units: Units
    run: RunMemory
    open_problems: dict[tuple[int, Kind], OpenProblem]

    def draft(self) -> DetectorState:
        """Return a copy that may be written to."""
        return DetectorState(
            layers={layer_id: memory.copy() for layer_id, memory in self.layers.items()},
            units=self.units.copy(),
            run=replace(self.run, windows=dict(self.run.windows)),
            open_problems={key: replace(problem) for key, problem in self.open_problems.items()},
        )


def empty() -> DetectorState:
    """Return the state of a run before its first record."""
    return DetectorState({}, np.zeros((ROWS, 0), dtype=np.float32), RunMemory(), {})


def describe(state: DetectorState, layers: Sequence[LayerInfo]) -> DetectorState:
    """Return the state with descriptions of layers added or replaced.

    A layer that is described again keeps its memory, unless its number of units or whether it can die changed: then it
    starts from nothing.
    """
    memories = dict(state.layers)
    units = {layer_id: state.units[:, memory.unit_slice] for layer_id, memory in memories.items()}
    for info in layers:
        previous = memories.get(info.layer_id)
        if previous is not None and (previous.info.units, previous.info.can_die) == (info.units, info.can_die):
            memory = previous.copy()
            memory.info = info
        else:
            memory = LayerMemory(info, offset=0)
            units[info.layer_id] = np.zeros((ROWS, memory.tracked_units), dtype=np.float32)
        memories[info.layer_id] = memory
    return _arrange(state, memories, units)


def _arrange(state: DetectorState, memories: dict[int, LayerMemory], units: dict[int, Units]) -> DetectorState:
    """Return the state with the units of all layers in one array, in the order of their ids: that of first use."""
    offset = 0
    arranged: dict[int, LayerMemory] = {}
    for layer_id in sorted(memories):
        memory = memories[layer_id].copy()
        memory.offset = offset
        offset += memory.tracked_units
        arranged[layer_id] = memory
    blocks = [units[layer_id] for layer_id in arranged]
    # The empty block makes a state without layers an array of the same shape and type.
    joined = np.concatenate([np.zeros((ROWS, 0), np.float32), *blocks], axis=1)
    return DetectorState(arranged, joined, state.run, state.open_problems)


_RUN_FIELDS = tuple(f.name for f in fields(RunMemory))
_LAYER_SCALARS = tuple(f.name for f in fields(LayerMemory) if f.name not in {"info", "offset", "history"})


def to_bytes(state: DetectorState) -> bytes:
    """Return the state as bytes, exactly: a JSON header, then numbers of layers and of units, little-endian."""
    header: dict[str, Any] = {
        "run": {name: getattr(state.run, name) for name in _RUN_FIELDS},
        "open": [[layer_id, kind, asdict(problem)] for (layer_id, kind), problem in state.open_problems.items()],
        "layers": [dict(memory.info) for memory in state.layers.values()],
        "trails": [len(memory.history) for memory in state.layers.values()],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    numbers: list[float] = []
    for memory in state.layers.values():
        numbers += [getattr(memory, name) for name in _LAYER_SCALARS]
        numbers += [value for entry in memory.history for value in entry]
    packed = struct.pack(f"<{len(numbers)}d", *numbers)
    head = _MAGIC + struct.pack("<II", len(text), len(packed))
    return head + text + packed + state.units.astype("<f4", copy=False).tobytes()


def from_bytes(raw: bytes) -> DetectorState:
    """Return the state that ``to_bytes`` wrote. Raises ValueError for bytes of another version."""
    if raw[:4] != _MAGIC:
        raise ValueError("these bytes are no detector state of this version")
    text_length, packed_length = struct.unpack_from("<II", raw, 4)
    header = json.loads(raw[12 : 12 + text_length])
    start = 12 + text_length
    numbers = iter(struct.unpack(f"<{packed_length // 8}d", raw[start : start + packed_length]))
    layers: dict[int, LayerMemory] = {}
    offset = 0
    for info, history_length in zip(header["layers"], header["trails"], strict=True):
        memory = LayerMemory(LayerInfo.model_validate(info), offset)
        for name in _LAYER_SCALARS:
            setattr(memory, name, next(numbers))
        memory.history = tuple((next(numbers), next(numbers), next(numbers)) for _ in range(history_length))
        layers[memory.info.layer_id] = memory
        offset += memory.tracked_units
    units = np.frombuffer(raw, dtype="<f4", offset=start + packed_length).reshape(ROWS, offset).astype(np.float32)
    run = header["run"]
    run["windows"] = {name: tuple(values) for name, values in run["windows"].items()}
    open_problems = {(layer_id, kind): OpenProblem(**problem) for layer_id, kind, problem in header["open"]}
    return DetectorState(layers, units, RunMemory(**run), open_problems)
