"""The preactivations of torch's own RNN, which computes them inside of one operator."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import relumine
from tests.helpers.recurrent import check_states, train


class Rnn(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.rnn = nn.RNN(3, 5, nonlinearity="relu", **options)
        self.lengths = None

    def forward(self, x):
        if self.lengths is not None:
            x = pack_padded_sequence(x, self.lengths, batch_first=self.rnn.batch_first, enforce_sorted=False)
        output, _ = self.rnn(x)
        self.output = output
        return (output.data if self.lengths is not None else output).mean()


def scalar_preactivations(rnn, x, layer=0, suffix=""):
    """One direction of one layer, step by step, in double precision. ``x`` is (examples, steps, inputs)."""
    parameters = {name: value.detach().double() for name, value in rnn.named_parameters()}
    state = torch.zeros(len(x), rnn.hidden_size, dtype=torch.float64)
    preactivations = []
    steps = range(x.shape[1])
    for step in reversed(steps) if suffix else steps:
        z = x[:, step].double() @ parameters[f"weight_ih_l{layer}{suffix}"].t()
        z = z + state @ parameters[f"weight_hh_l{layer}{suffix}"].t()
        for bias in ("bias_ih", "bias_hh"):
            z = z + parameters.get(f"{bias}_l{layer}{suffix}", 0.0)
        preactivations.append(z)
        state = z.relu()
    if suffix:
        preactivations.reverse()
    return torch.stack(preactivations, 1)


OPTIONS = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"bidirectional": True},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_preactivations_of_an_rnn_are_exact(options, memory):
    torch.manual_seed(0)
    model = Rnn(**options)
    x = torch.randn(4, 9, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model(x if model.rnn.batch_first else x.transpose(0, 1)).backward()
        optimizer.step()
        rows = monitor.coverage()
    layers = model.rnn.num_layers
    assert len(rows) == layers
    suffixes = ["", "_reverse"] if model.rnn.bidirectional else [""]
    for layer, name in enumerate(rows):
        z = torch.cat([scalar_preactivations(model.rnn, x, layer, suffix) for suffix in suffixes], -1)
        (record,) = memory.records(name)
        check_states(record, z.relu().float())
        assert record.arrays()["mean"] == pytest.approx(z.mean((0, 1)).numpy(), abs=1e-5)
        assert record.arrays()["var"] == pytest.approx(z.var((0, 1), unbiased=False).numpy(), rel=1e-3)
        x = z.relu()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_preactivations_of_packed_sequences_are_exact(bidirectional, memory):
    torch.manual_seed(0)
    model = Rnn(batch_first=True, bidirectional=bidirectional)
    model.lengths = [3, 7, 1, 5]
    x = torch.randn(4, 7, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model(x).backward()
        optimizer.step()
        assert list(monitor.coverage()) == ["rnn.relu"]
    suffixes = ["", "_reverse"] if bidirectional else [""]
    z = torch.cat(
        [
            torch.cat([scalar_preactivations(model.rnn, x[i : i + 1, :n], 0, suffix)[0] for suffix in suffixes], -1)
            for i, n in enumerate(model.lengths)
        ]
    )
    (record,) = memory.records("rnn.relu")
    assert record.n_positions == 16
    assert record.arrays()["active"].tolist() == (z > 0).sum(0).tolist()
    assert record.arrays()["mean"] == pytest.approx(z.mean(0).numpy(), abs=1e-5)


def test_an_rnn_whose_inner_dropout_is_not_known_is_named(memory):
    rows = train(Rnn(num_layers=2, dropout=0.5), torch.randn(9, 4, 3))
    assert "dropout" in rows["rnn.relu"]["missing"][0]
    coverage = [upload.coverage for upload in memory.uploads if upload.coverage][-1]
    assert list(coverage.unseen) == ["rnn.relu"]


def test_an_rnn_without_a_relu_has_no_layer(memory):
    model = Rnn()
    model.rnn = nn.RNN(3, 5)
    assert train(model, torch.randn(9, 4, 3)) == {}
