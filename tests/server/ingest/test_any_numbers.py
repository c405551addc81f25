"""Whatever numbers an upload holds, as long as the format allows them, it is stored and analyzed."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from relumine.schemas.record import Record
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import RunReplay

UNITS = 3
LARGE = [0.0, -0.0, 1e-308, 1e-45, 1.0, -1.0, 1e30, -1e30, 3e38, -3e38, 1e300, 1.7e308, -1.7e308]
LARGE_FLOAT32 = [value for value in LARGE if abs(value) < 3.4e38]
STEPS = [0, 1, 2, 9, 10, 1_000, 2**31, 2**53 - 1]
COUNTS = [0, 1, 7, 64, 2**31, 2**53 - 1]
SCALARS = (
    "learning_rate", "weight_norm", "update_norm", "grad_norm", "input_mean", "input_std", "input_min", "input_max",
    "update_ratio", "output_spread", "loss",
)  # fmt: skip
COLUMNS = ("mean", "var", "max", "bias", "update_shift", "shift_weight", "shift_input", "shift_bias")


def any_scalars(chance: random.Random) -> dict[str, object]:
    fields: dict[str, object] = {name: chance.choice(COUNTS) for name in ("n_examples", "n_positions", "nonfinite")}
    fields |= {name: chance.choice(LARGE) for name in SCALARS if chance.random() < 0.6}
    if chance.random() < 0.3:
        fields["learning_rates"] = [chance.choice(LARGE), chance.choice(LARGE)]
    return fields


def any_columns(chance: random.Random) -> dict[str, object]:
    names = [*COLUMNS, "silent", "longest_silence"]
    chosen = {"active", *(name for name in names if chance.random() < 0.8)}
    columns: dict[str, object] = {}
    for name in sorted(chosen):
        values = LARGE_FLOAT32 if name in COLUMNS else COUNTS
        columns[name] = [chance.choice(values) for _ in range(UNITS)]
    return columns


def any_record(chance: random.Random, step: int, layer_id: int) -> Record:
    first_step = min(step, chance.choice(STEPS))
    columns = any_columns(chance) if layer_id else {}
    fields = any_scalars(chance) | columns
    return Record.model_validate({"layer_id": layer_id, "step": step, "first_step": first_step, **fields})


@pytest.mark.parametrize("seed", range(60))
def test_the_detector_takes_any_numbers_in_any_order_of_steps(seed):
    chance = random.Random(seed)  # noqa: S311 - no secret
    layers = [LayerInfo(layer_id=layer_id, name=f"fc{layer_id}", units=UNITS) for layer_id in (1, 2)]
    run = RunReplay(layers, DEFAULT)
    with np.errstate(all="ignore"):
        for number in range(40):
            step = chance.choice(STEPS)
            records = [any_record(chance, step, layer_id) for layer_id in (0, 1, 2)]
            readings, findings = run.advance(f"s{number // 10}", RecordTable.from_records(records))
            assert all(math.isfinite(reading.risk) for reading in readings)
            assert all(finding.step == step for finding in findings)
