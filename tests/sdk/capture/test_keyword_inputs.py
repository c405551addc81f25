"""A model called by keyword, as every Hugging Face model is, is observed like one called by position."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


class Tokens(nn.Module):
    """A model of sequences whose hidden layer reads flattened tokens."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(5, 7), nn.Linear(7, 2)

    def forward(self, x, mask=None):
        hidden = functional.relu(self.fc(input=x.reshape(-1, 5)))
        return self.out(hidden) * (1.0 if mask is None else mask.reshape(-1, 1))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pixel_values):
        return functional.relu(self.conv(input=pixel_values)).mean()


CALLS = {
    "by position": lambda model, x: model(x),
    "by keyword": lambda model, x: model(x=x),
    "by keyword, with others": lambda model, x: model(x=x, mask=torch.ones(x.shape[:2])),
}


def train(model, call, x, memory):
    start = len(memory.records())
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for step in range(4):
            call(model, x + step).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        rows = monitor.coverage()
    return rows, memory.records()[start:]


@pytest.mark.parametrize("name", CALLS)
def test_the_records_are_the_same_by_keyword_and_by_position(name, memory):
    x = torch.randn(6, 4, 5)
    results = []
    for call in (CALLS["by position"], CALLS[name]):
        torch.manual_seed(1)
        results.append(train(Tokens(), call, x, memory))
    (rows, records), (keyword_rows, keyword_records) = results
    assert rows == keyword_rows
    assert rows["relu"]["n_unit"] == "positions"
    assert rows["relu"]["split"] == "linear"
    assert len(records) == len(keyword_records)
    for record, other in zip(records, keyword_records, strict=True):
        assert (record.step, record.n_examples, record.input_mean) == (other.step, other.n_examples, other.input_mean)
        assert {key: value.tolist() for key, value in record.arrays().items()} == {
            key: value.tolist() for key, value in other.arrays().items()
        }
    signals = [record for record in keyword_records if not record.layer_id]
    assert any(record.input_mean is not None for record in signals)


def test_a_convolution_called_by_keyword_has_its_split(memory):
    rows, records = train(Images(), lambda model, x: model(pixel_values=x), torch.randn(6, 3, 8, 8), memory)
    assert (rows["relu"]["split"], rows["relu"]["n_unit"]) == ("linear", "examples")
    assert "shift_input" in records[-1].arrays() or "shift_input" in records[-2].arrays()


def test_sampling_leaves_nothing_in_the_tables_of_hooks(memory):
    train(Tokens(), CALLS["by keyword"], torch.randn(6, 4, 5), memory)
    assert not torch.nn.modules.module._has_any_global_hook()
