"""A unit is a unit: what has no feature axis of a layer is left out with a reason, and never an error."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from tests.helpers.small_nets import Net, batches, hidden, watch_steps


def hinge(m, x):
    labels = torch.sign(torch.randn(len(x)))
    return functional.relu(1 - labels * m.out(hidden(m, x)).squeeze(1))


def hinge_over_classes(m, x):
    labels = torch.sign(torch.randn(len(x), m.out.out_features))
    return functional.relu(1 - labels * m.out(hidden(m, x)))


def margin_over_classes(m, x):
    scores = m.out(hidden(m, x))
    right = scores.gather(1, torch.zeros(len(x), 1, dtype=torch.long))
    return (scores - right + 1).clamp(min=0)


def triplet(m, x):
    z = m.out(hidden(m, x))
    near, far = (z - z.roll(1, 0)).pow(2).sum(1), (z - z.roll(2, 0)).pow(2).sum(1)
    return functional.relu(near - far + 0.2)


def triplet_kept_dims(m, x):
    z = m.out(hidden(m, x))
    return functional.relu(0.2 + functional.pairwise_distance(z, z.roll(1, 0), keepdim=True))


def contrastive(m, x):
    z = functional.normalize(m.out(hidden(m, x)))
    return functional.relu(z @ z.t() - 0.5)


def distances(m, x):
    z = m.out(hidden(m, x))
    return functional.relu(1.0 - torch.cdist(z, z))


def pairwise_ranking(m, x):
    score = m.out(hidden(m, x))[:, 0]
    return torch.clamp(1 - (score[:, None] - score[None, :]), min=0)


def boxes(m, x):
    predicted = m.out(hidden(m, x))
    target = torch.rand(5, 4)
    low = torch.maximum(predicted[:, None, :2], target[:, :2])
    high = torch.minimum(predicted[:, None, 2:], target[:, 2:])
    overlap = (high - low).clamp(min=0)
    return overlap.prod(2)


def box_areas(m, x):
    x1, y1, x2, y2 = m.out(hidden(m, x)).chunk(4, -1)
    return (x2 - x1).clamp(min=0) * (y2 - y1).clamp_(min=0)


def squeezed(m, x):
    return functional.relu(m.out(hidden(m, x)).squeeze())


def similarities_by_linear(m, x):
    z = m.out(hidden(m, x))
    return functional.relu(functional.linear(z, z))


def spread_of_a_batch(m, x):
    return functional.relu(m.out(hidden(m, x)).pow(2).mean(0) - 0.1)


def crossing_quantiles(m, x):
    return functional.relu(-torch.diff(m.out(hidden(m, x)), dim=1)).sum(1)


def attention_scores(m, x):
    h = hidden(m, x)[None]
    return functional.relu(h @ h.transpose(1, 2)) @ h


LOSSES = {
    run.__name__: (run, outputs)
    for run, outputs in (
        (hinge, 1),
        (hinge_over_classes, 4),
        (margin_over_classes, 4),
        (triplet, 4),
        (triplet_kept_dims, 4),
        (contrastive, 4),
        (distances, 4),
        (pairwise_ranking, 1),
        (boxes, 4),
        (box_areas, 4),
        (squeezed, 1),
        (similarities_by_linear, 4),
        (spread_of_a_batch, 4),
        (crossing_quantiles, 4),
        (attention_scores, 1),
    )
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_has_no_units_is_left_out_with_a_reason(name, memory):
    run, outputs = LOSSES[name]
    sizes = [8, 8, 12, 3, 1]
    rows = watch_steps(Net(run, outputs), batches(*sizes))
    watched = [layer for layer, row in rows.items() if row.get("can_die")]
    assert watched == ["relu"]
    left_out = {layer: row for layer, row in rows.items() if layer != "relu"}
    assert left_out
    assert all("left out" in row["missing"][0] for row in left_out.values())
    coverage = [upload.coverage for upload in memory.uploads if upload.coverage][-1]
    assert set(coverage.left_out) == set(left_out)
    assert {record.layer_id for record in memory.records()} == {0, 1}
    assert [record.n_examples for record in memory.records("relu")] == sizes


def graph_convolution(m, x):
    adjacency = torch.eye(len(x)).to_sparse()
    return m.out(functional.relu(torch.spmm(adjacency, x @ m.fc.weight.t())))


def gated(m, x):
    value, gate = torch.cat([m.fc(x), m.fc(-x)], 1).chunk(2, -1)
    return value * functional.relu(gate)


UNITS = {
    "a product with parameters": lambda m, x: functional.relu(x @ m.fc.weight.t() + m.fc.bias),
    "an einsum": lambda m, x: functional.relu(torch.einsum("bi,oi->bo", x, m.fc.weight)),
    "scaled and shifted": lambda m, x: functional.relu(m.fc(x) * m.scale - 0.1),
    "a graph convolution": graph_convolution,
    "normalised by hand": lambda m, x: functional.relu(m.fc(x) - m.fc(x).mean(1, keepdim=True)),
    "a dropout before": lambda m, x: functional.relu(functional.dropout(m.fc(x), 0.3)),
    "a masked tensor": lambda m, x: functional.relu(m.fc(x) * (torch.rand(len(x), 1) > 0.3)),
    "concatenated with its negative": lambda m, x: functional.relu(torch.cat([m.fc(x), -m.fc(x)], 1)),
    "a gate": gated,
    "weights computed from parameters": lambda m, x: functional.relu(functional.linear(x, m.fc.weight.tanh())),
    "a residual sum": lambda m, x: functional.relu(m.fc(x) + m.fc(x.roll(1, 0))),
    "rows selected by a mask": lambda m, x: functional.relu(m.fc(x)[torch.arange(len(x)) % 2 == 0]),
    "one example without a batch axis": lambda m, x: functional.relu(m.fc(x[0])),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_found_wherever_features_of_a_layer_are_carried_on(name, memory):
    rows = watch_steps(Net(UNITS[name]), batches(9, 9, 12, 3))
    assert [row["can_die"] for row in rows.values()] == [True]
    assert [row["units"] for row in rows.values()] == [18 if "negative" in name else 9]
    assert len(memory.records(next(iter(rows)))) == 4


def test_heads_of_an_attention_are_positions_and_their_features_units(memory):
    def run(m, x):
        return functional.relu(m.fc(x).view(-1, 2, 3, 3).transpose(1, 2))

    rows = watch_steps(Net(run), [(torch.randn(8, 6),)] * 2)
    assert [(row["units"], row["unit_kind"]) for row in rows.values()] == [(3, "features")]


def test_a_layer_whose_width_changes_is_a_new_layer_and_no_row_is_overwritten(memory):
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 4)
            self.last = nn.Linear(4, 4)
            self.weight = nn.Parameter(torch.randn(12, 4))
            self.width = 4

        def forward(self, x):
            h = functional.relu(self.first(x))
            grown = functional.relu(functional.linear(h, self.weight[: self.width]))
            return grown.sum() + functional.relu(self.last(h)).sum()

    model = Growing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(32, 6)
    with warnings.catch_warnings(), relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        warnings.simplefilter("error")
        for width in (4, 4, 7, 12, 7, 4):
            model.width = width
            model(x).backward()
            optimizer.step()
        rows = monitor.coverage()
    assert {name: row["units"] for name, row in rows.items()} == {
        "relu": 4,
        "relu#2": 4,
        "relu#3": 4,
        "relu#2@7": 7,
        "relu#2@12": 12,
    }
    steps = {name: [record.step for record in memory.records(name)] for name in rows}
    assert steps["relu#2"] == [1, 2, 6]
    assert (steps["relu#2@7"], steps["relu#2@12"]) == ([3, 5], [4])
    with torch.no_grad():
        expected = (model.first(x) > 0).sum(0).tolist()
    assert [record.arrays()["active"].tolist() for record in memory.records("relu")] == [expected] * 6
