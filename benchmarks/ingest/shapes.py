"""Uploads as the SDK makes them: layers that learn in peace, every statistic in every record, a record per look.

Only the run, the number and the steps differ from one upload to the next; the rest is drawn once, in a few variants, so
that whoever sends them spends next to nothing. What is drawn is like what a training sends, but no training was run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relumine import __version__
from relumine._uploads import HALF, SEQ_STRIDE
from relumine.packed import pack
from relumine.table import DEFAULTS, RECORD_SCALARS, Array, RecordTable
from relumine.wire import Coverage, LayerInfo, RunInfo

BATCH, EVERY, VARIANTS = 64, 10, 4
SESSION = "01a20b81-38ca-7d0e-bf35-cc49016152d5"
MARKS = re.compile(r'"@(\w+)@"')
PLACES = ("first_step", "step", "since_step")


@dataclass(frozen=True)
class Shape:
    """A model, how many sampled steps an upload carries, and in what share of its layers some unit is silent for long.

    The latter makes whole numbers of one statistic that need dtypes of different widths, so that they come in pieces.
    """

    name: str
    widths: tuple[int, ...]
    steps: int = 1
    silent: float = 0.0

    @property
    def records(self) -> int:
        """Layer-records of an upload; beside them the run itself has one per step."""
        return len(self.widths) * self.steps


def _resnet50() -> tuple[int, ...]:
    """Channels behind each of its 49 ReLUs: one in the stem, three in a block."""
    blocks = ((64, 64, 256), 3), ((128, 128, 512), 4), ((256, 256, 1024), 6), ((512, 512, 2048), 3)
    return (64, *(width for block, count in blocks for width in block * count))


BIG = Shape("500 records of 64 units", (64,) * 50, 10)
PIECES = Shape("the same, in pieces", (64,) * 50, 10, silent=0.5)
SMALL = Shape("16 records of 64 units", (64,) * 16)
RESNET50 = Shape("ResNet-50", _resnet50())
THOUSAND = Shape("10 records of 8 units", (8,) * 10)


def table(shape: Shape, number: int = 1, seed: int = 0) -> RecordTable:
    """The records of one upload of a run, counted from 0."""
    rng = np.random.default_rng((seed, number))
    records = [record for place in range(shape.steps) for record in _look(shape, number * shape.steps + place + 1, rng)]
    return RecordTable.build([scalars for scalars, _ in records], [units for _, units in records]).in_order()


def _look(shape: Shape, look: int, rng: np.random.Generator) -> list[tuple[dict[str, Any], dict[str, Array]]]:
    """Scalars and unit columns of one sampled step: the run first, then its layers."""
    place = {"first_step": look * EVERY, "step": look * EVERY, "n_examples": BATCH, "learning_rate": 0.05}
    drawn = rng.random(9, np.float32).tolist()
    names = ("update_ratio", "input_mean", "input_std", "input_min", "input_max", "output_spread")
    of_run = {"layer_id": 0, "learning_rates": [0.05], "loss": drawn[6], **dict(zip(names, drawn, strict=False))}
    looks: list[tuple[dict[str, Any], dict[str, Array]]] = [(place | of_run, {})]
    for layer_id, width in enumerate(shape.widths, 1):
        norms = dict(zip(("weight_norm", "update_norm", "grad_norm"), rng.random(3, np.float32).tolist(), strict=True))
        of_layer = {"layer_id": layer_id, "since_step": (look - 1) * EVERY, "n_positions": BATCH, **norms}
        looks.append((place | of_layer, _units(width, rng, silent=rng.random() < shape.silent)))
    return looks


def _units(width: int, rng: np.random.Generator, *, silent: bool) -> dict[str, Array]:
    def normal(scale: float) -> Array:
        return (scale * rng.standard_normal(width)).astype(np.float32)

    active = rng.binomial(BATCH, rng.uniform(0.2, 0.8, width)).astype(np.float32)
    silence = np.where(active == 0, BATCH, 0).astype(np.float32)
    if silent:
        active[0], silence[0] = 0, 5 * BATCH
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


def values(records: RecordTable) -> int:
    """How many numbers that were measured an upload carries; not where they belong."""
    scalars = sum(measured(name, records.scalars[name]) for name in RECORD_SCALARS)
    rates = sum(len(own or ()) for own in records.learning_rates)
    return scalars + rates + sum(column.size for column in records.columns.values())


def measured(name: str, column: Array) -> int:
    """How many of a scalar's numbers say something: not absent, not what is assumed anyway."""
    return int(np.count_nonzero(~np.isnan(column.astype(np.float64)) & (column != DEFAULTS.get(name, np.nan))))


def layers(shape: Shape) -> list[LayerInfo]:
    """The layers as the first upload describes them."""
    return [
        LayerInfo(layer_id=i, name=f"layers.{i}.relu", units=width, split="linear", producer=f"layers.{i}", fan_in=64)
        for i, width in enumerate(shape.widths, 1)
    ]


def upload(shape: Shape, run: str, number: int, seed: int = 0) -> dict[str, Any]:
    """An upload of a run, counted from 0, as JSON values: its records packed, its layers described by the first."""
    known = number > 0
    info = RunInfo(id="r", project="bench", name="baseline", config={"lr": 0.05, "batch": BATCH}, sdk=__version__)
    coverage = Coverage(watched=len(shape.widths), units=sum(shape.widths))
    return {
        "run": {**info.model_dump(mode="json"), "id": run},
        "session": SESSION,
        "world_size": 1,
        "seq": (number + 1) * SEQ_STRIDE,
        "dropped": {},
        "layers": [] if known else [layer.model_dump(mode="json") for layer in layers(shape)],
        "coverage": None if known else coverage.model_dump(mode="json"),
        "records": pack(table(shape, number, seed), HALF),
        "numbers": [],
        "closing": None,
    }


def text(sent: Any) -> str:
    """JSON as the SDK writes it."""
    return json.dumps(sent, separators=(",", ":"), allow_nan=False)


class Bodies:
    """The bodies of all uploads of any run: a short head that is made for each, and a long tail that is not."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        heads, tails = zip(*(_template(shape, seed) for seed in range(VARIANTS)), strict=True)
        self._head: Sequence[str] = heads[0]
        self._tails: Sequence[bytes] = tails
        self._places: dict[int, dict[str, str]] = {}

    def parts(self, run: str, number: int) -> tuple[bytes, bytes]:
        """Head and tail of the body of an upload of a run, counted from 0."""
        known = self._places.get(number)
        if known is None:
            known = self._places[number] = _places(self.shape, number)
        filled = (known.get(part, part) if place % 2 else part for place, part in enumerate(self._head))
        head = "".join(text(run) if part == "run" else part for part in filled)
        return head.encode(), self._tails[number % VARIANTS]

    def body(self, run: str, number: int) -> bytes:
        """The body in one piece."""
        return b"".join(self.parts(run, number))


def _template(shape: Shape, seed: int) -> tuple[list[str], bytes]:
    """The head of a body, cut at what differs between uploads (every second part names it), and its tail."""
    sent = upload(shape, "@run@", 1, seed)
    sent |= {"seq": "@seq@", "layers": "@layers@", "coverage": "@coverage@"}
    sent["records"]["scalars"] |= {name: f"@{name}@" for name in PLACES}
    *head, tail = MARKS.split(text(sent))
    return head, tail.encode()


def _places(shape: Shape, number: int) -> dict[str, str]:
    """The JSON of what differs between the uploads of a run."""
    looks = np.repeat(np.arange(shape.steps) + number * shape.steps + 1, len(shape.widths) + 1)
    of_run = np.arange(looks.size) % (len(shape.widths) + 1) == 0
    steps = looks * EVERY
    scalars = {"first_step": steps, "step": steps, "since_step": np.where(of_run, np.nan, steps - EVERY)}
    none = np.zeros(looks.size, np.int64)
    sent = pack(RecordTable(scalars, none, none, {}, (None,) * looks.size))["scalars"]
    outer = upload(Shape(shape.name, shape.widths, 0), "r", number)
    return {name: text(one) for name, one in (sent | {n: outer[n] for n in ("seq", "layers", "coverage")}).items()}
