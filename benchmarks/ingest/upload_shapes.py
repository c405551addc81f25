"""Synthetic uploads like the SDK's: healthy layers, every statistic in every record, one record per sampled step.

Only the run, the upload's number and the steps differ from one upload to the next. The rest is drawn once, in a few
variants, so that sending costs next to nothing. The values resemble those of a training, but no training was run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relumine import __version__
from relumine._export.upload_split import HALF_PRECISION_COLUMNS, SEQ_STRIDE
from relumine.schemas.packing import pack
from relumine.schemas.record_table import DEFAULTS, RECORD_SCALARS, Array, RecordTable
from relumine.schemas.upload import Coverage, LayerInfo, RunInfo, Upload

BATCH = 64
EVERY = 10
"""Steps between two sampled steps."""
VARIANTS = 4
SESSION = "01a20b81-38ca-7d0e-bf35-cc49016152d5"
PLACEHOLDER = re.compile(r'"@(\w+)@"')
STEP_COLUMNS = ("first_step", "step", "since_step")


@dataclass(frozen=True)
class Shape:
    """A model, the sampled steps of one upload, and the share of layers in which some unit is silent for long.

    A long silence needs a wider dtype than the other values of its statistic, so that the column is sent in pieces.
    """

    name: str
    widths: tuple[int, ...]
    steps: int = 1
    silent: float = 0.0

    @property
    def records(self) -> int:
        """Layer records of an upload; the run itself has one more per sampled step."""
        return len(self.widths) * self.steps


def _resnet50_widths() -> tuple[int, ...]:
    """Return the channels behind each of the 49 ReLUs: one in the stem, three in a block."""
    stages = ((64, 64, 256), 3), ((128, 128, 512), 4), ((256, 256, 1024), 6), ((512, 512, 2048), 3)
    return (64, *(width for block, count in stages for width in block * count))


BIG = Shape("500 records of 64 units", (64,) * 50, 10)
PIECES = Shape("the same, in pieces", (64,) * 50, 10, silent=0.5)
SMALL = Shape("16 records of 64 units", (64,) * 16)
RESNET50 = Shape("ResNet-50", _resnet50_widths())
THOUSAND = Shape("10 records of 8 units", (8,) * 10)


def decode(body: bytes) -> Upload:
    """Decode and validate a body as ``POST /v1/uploads`` does."""
    return Upload.model_validate_json(body, strict=True)


def record_table(shape: Shape, number: int = 1, seed: int = 0) -> RecordTable:
    """Return the records of the upload of this number (from 0)."""
    rng = np.random.default_rng((seed, number))
    records = []
    for index in range(shape.steps):
        records += _sampled_step(shape, number * shape.steps + index + 1, rng)
    return RecordTable.from_values(
        [scalars for scalars, _ in records], [units for _, units in records]
    ).sorted_by_step()


def _sampled_step(
    shape: Shape, ordinal: int, rng: np.random.Generator
) -> list[tuple[dict[str, Any], dict[str, Array]]]:
    """Return scalars and unit columns of one sampled step: the run's own record, then one per layer."""
    common = {"first_step": ordinal * EVERY, "step": ordinal * EVERY, "n_examples": BATCH, "learning_rate": 0.05}
    values = rng.random(9, np.float32).tolist()
    names = ("update_ratio", "input_mean", "input_std", "input_min", "input_max", "output_spread")
    of_run = {"layer_id": 0, "learning_rates": [0.05], "loss": values[6], **dict(zip(names, values, strict=False))}
    records: list[tuple[dict[str, Any], dict[str, Array]]] = [(common | of_run, {})]
    for layer_id, width in enumerate(shape.widths, 1):
        norms = dict(zip(("weight_norm", "update_norm", "grad_norm"), rng.random(3, np.float32).tolist(), strict=True))
        of_layer = {"layer_id": layer_id, "since_step": (ordinal - 1) * EVERY, "n_positions": BATCH, **norms}
        records.append((common | of_layer, _units(width, rng, silent=rng.random() < shape.silent)))
    return records


def _units(width: int, rng: np.random.Generator, *, silent: bool) -> dict[str, Array]:
    def normal(scale: float) -> Array:
        return (scale * rng.standard_normal(width)).astype(np.float32)

    active = rng.binomial(BATCH, rng.uniform(0.2, 0.8, width)).astype(np.float32)
    silence = np.where(active == 0, BATCH, 0).astype(np.float32)
    if silent:
        active[0] = 0
        silence[0] = 5 * BATCH
    return {
        "active": active,
        "silent": silence,
        "longest_silence": np.zeros(width, np.float32),
        "mean": normal(0.3),
        "var": (1 + np.abs(normal(0.3))).astype(np.float32),
        "max": (2 + np.abs(normal(0.5))).astype(np.float32),
        "bias": normal(0.05),
        "update_shift": normal(0.001),
        "shift_weight": normal(0.003),
        "shift_input": normal(0.003),
        "shift_bias": normal(0.003),
    }


def count_values(records: RecordTable) -> int:
    """Return how many measured numbers records carry; ids and steps do not count."""
    scalars = sum(count_measured(name, records.scalars[name]) for name in RECORD_SCALARS)
    rates = sum(len(group or ()) for group in records.learning_rates)
    return scalars + rates + sum(column.size for column in records.columns.values())


def count_measured(name: str, column: Array) -> int:
    """Return how many numbers of a scalar are neither absent nor the default."""
    return int(np.count_nonzero(~np.isnan(column.astype(np.float64)) & (column != DEFAULTS.get(name, np.nan))))


def layer_infos(shape: Shape) -> list[LayerInfo]:
    """Return the layers as the first upload describes them."""
    return [
        LayerInfo(layer_id=i, name=f"layers.{i}.relu", units=width, split="linear", producer=f"layers.{i}", fan_in=64)
        for i, width in enumerate(shape.widths, 1)
    ]


def upload_json(shape: Shape, run: str, number: int, seed: int = 0) -> dict[str, Any]:
    """Return an upload as JSON values; the upload of number 0 describes the layers."""
    layers: list[dict[str, Any]] = []
    coverage = None
    if number == 0:
        layers = [layer.model_dump(mode="json") for layer in layer_infos(shape)]
        coverage = Coverage(watched=len(shape.widths), units=sum(shape.widths)).model_dump(mode="json")
    info = RunInfo(id="r", project="bench", name="baseline", config={"lr": 0.05, "batch": BATCH}, sdk=__version__)
    return {
        "run": {**info.model_dump(mode="json"), "id": run},
        "session": SESSION,
        "world_size": 1,
        "seq": (number + 1) * SEQ_STRIDE,
        "dropped": {},
        "layers": layers,
        "coverage": coverage,
        "records": pack(record_table(shape, number, seed), HALF_PRECISION_COLUMNS),
        "metrics": [],
        "final_status": None,
    }


def to_json(value: Any) -> str:
    """Serialize as the SDK does."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class UploadBodies:
    """The bodies of all uploads of any run: a short head that is made for each, and a long tail that is shared."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        templates = [_template(shape, seed) for seed in range(VARIANTS)]
        self._head: Sequence[str] = templates[0][0]
        self._tails: Sequence[bytes] = [tail for _, tail in templates]
        self._replacements: dict[int, dict[str, str]] = {}

    def parts(self, run: str, number: int) -> tuple[bytes, bytes]:
        """Return head and tail of the body of the upload of this number (from 0)."""
        replacements = self._replacements.get(number)
        if replacements is None:
            replacements = self._replacements[number] = _replacements(self.shape, number)
        head = []
        for index, part in enumerate(self._head):
            is_placeholder = index % 2 == 1
            if not is_placeholder:
                head.append(part)
            elif part == "run":
                head.append(to_json(run))
            else:
                head.append(replacements[part])
        return "".join(head).encode(), self._tails[number % VARIANTS]

    def body(self, run: str, number: int) -> bytes:
        """Return the body in one piece."""
        return b"".join(self.parts(run, number))


def _template(shape: Shape, seed: int) -> tuple[list[str], bytes]:
    """Return the head of a body, cut at its placeholders (every second part is the name of one), and its tail."""
    upload = upload_json(shape, "@run@", 1, seed)
    upload |= {"seq": "@seq@", "layers": "@layers@", "coverage": "@coverage@"}
    upload["records"]["scalars"] |= {name: f"@{name}@" for name in STEP_COLUMNS}
    *head, tail = PLACEHOLDER.split(to_json(upload))
    return head, tail.encode()


def _replacements(shape: Shape, number: int) -> dict[str, str]:
    """Return the JSON of everything that differs between the uploads of a run, by the name of its placeholder."""
    ordinals = np.repeat(np.arange(shape.steps) + number * shape.steps + 1, len(shape.widths) + 1)
    is_run = np.arange(ordinals.size) % (len(shape.widths) + 1) == 0
    steps = ordinals * EVERY
    scalars = {"first_step": steps, "step": steps, "since_step": np.where(is_run, np.nan, steps - EVERY)}
    no_units = np.zeros(ordinals.size, np.int64)
    columns = pack(RecordTable(scalars, no_units, no_units, {}, (None,) * ordinals.size))["scalars"]
    without_records = upload_json(Shape(shape.name, shape.widths, 0), "r", number)
    values = columns | {name: without_records[name] for name in ("seq", "layers", "coverage")}
    return {name: to_json(value) for name, value in values.items()}
