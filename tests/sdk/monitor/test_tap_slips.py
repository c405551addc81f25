"""Taps as people write them: what can be recorded is recorded, and what cannot is named once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.slips import STEPS, Raises, watched


def tapped(memory, **arguments):
    watched(memory, lambda monitor, z: monitor.tap("tap", **{"z": z, **arguments}))
    return memory.records("tap")


def per_unit(value):
    return torch.full((9,), value)


@pytest.mark.parametrize(
    "threshold",
    [
        0.25,
        np.float32(0.25),
        torch.tensor(0.25),
        nn.Parameter(torch.tensor([0.25])),
        per_unit(0.25),
        nn.Parameter(per_unit(0.25)),
    ],
)
def test_a_threshold_may_be_a_number_or_a_tensor_per_unit(threshold, memory):
    records = tapped(memory, z=torch.linspace(-1, 1, 36).reshape(4, 9), threshold=threshold)
    assert len(records) == STEPS
    expected = (torch.linspace(-1, 1, 36).reshape(4, 9) > 0.25).sum(0).tolist()
    assert records[0].arrays()["active"].tolist() == expected


def test_a_threshold_per_unit_lies_along_the_units_of_images(memory):
    z = torch.randn(2, 5, 3, 3)
    threshold = torch.linspace(-1, 1, 5)
    records = tapped(memory, z=z, threshold=threshold)
    expected = (z > threshold[:, None, None]).any(-1).any(-1).sum(0).tolist()
    assert records[0].arrays()["active"].tolist() == expected


def test_the_threshold_may_be_a_list_or_have_the_shape_of_z(memory):
    z = torch.randn(4, 3)
    assert len(tapped(memory, z=z, threshold=[0.0, 0.5, 1.0])) == STEPS
    memory.uploads.clear()
    assert len(tapped(memory, z=z, threshold=torch.zeros(4, 3))) == STEPS


@pytest.mark.parametrize(
    "arguments",
    [
        {"z": None},
        {"z": [1.0, 2.0]},
        {"z": np.ones(3)},
        {"z": torch.tensor(1.0)},
        {"z": torch.ones(3, 4).to_sparse()},
        {"z": torch.ones(3, 4, dtype=torch.complex64)},
        {"z": torch.ones(3, 4, device="meta")},
        {"threshold": "high"},
        {"threshold": math.nan},
        {"threshold": torch.ones(7)},
        {"threshold": torch.ones(2, 4, 9)},
        {"threshold": Raises()},
        {"threshold": 1j},
        {"mask": torch.ones(3) > 0},
        {"mask": torch.ones(4, 9) > 0},
        {"mask": "all"},
        {"mask": [[True], [True, False]]},
    ],
    ids=lambda arguments: "-".join(f"{name} {type(value).__name__}" for name, value in arguments.items()),
)
def test_a_tap_that_cannot_be_recorded_is_named_once(arguments, memory, capsys):
    assert tapped(memory, **arguments) == []
    assert capsys.readouterr().err.count("tap: 'tap' is not recorded: ") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"z": torch.arange(12).reshape(4, 3)},
        {"z": torch.ones(5)},
        {"z": torch.ones(4, 3, dtype=torch.float64)},
        {"z": torch.ones(4, 3, dtype=torch.bfloat16)},
        {"z": torch.ones(4, 3) > 0},
        {"mask": torch.ones(4, 1)},
        {"mask": [True, False, True, True]},
        {"mask": np.ones(4)},
        {"threshold": None},
    ],
    ids=lambda arguments: "-".join(f"{name} {type(value).__name__}" for name, value in arguments.items()),
)
def test_a_tap_of_another_kind_is_recorded(arguments, memory):
    assert len(tapped(memory, **arguments)) == STEPS


def test_an_empty_tap_is_no_slip(memory, capsys):
    assert tapped(memory, z=torch.ones(0, 3)) == []
    assert "tap:" not in capsys.readouterr().err


def test_a_tap_whose_shape_or_mask_changes_is_another_layer(memory):
    shapes = [(4, 3), (4, 5), (2, 4, 3), (4, 3)]
    count = iter(range(10**6))

    def slip(monitor, _):
        z = torch.ones(shapes[next(count) % 4])
        monitor.tap("tap", z)
        monitor.tap("tap", z, mask=torch.ones(z.shape[:-1]) > 0)

    watched(memory, slip)
    units = {record.units for name in ("tap", "tap#2", "tap#3") for record in memory.records(name)}
    assert units == {3, 5}
    for record in memory.records():
        if "active" in record.arrays():
            assert record.arrays()["active"].max() <= record.n_examples


@pytest.mark.parametrize("name", [None, 5, "", "n" * 500, "a\x00b", Raises()])
def test_a_tap_has_a_name_that_can_be_sent(name, memory):
    watched(memory, lambda monitor, z: monitor.tap(name, z.detach()))
    names = {layer.name for upload in memory.uploads for layer in upload.layers}
    assert len(names) == 2
