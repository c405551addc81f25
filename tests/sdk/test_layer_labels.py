"""A layer has a name by which a person finds it in the model, and one function makes it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import relumine
from relumine.schemas.alert import AlertRun
from relumine.schemas.incident import incident_message, past_title
from relumine.schemas.layer_label import layer_label, shortened
from tests.helpers.remedy_alerts import alert


@pytest.mark.parametrize(
    ("name", "producer", "producer_type", "label"),
    [
        ("encoder.act", "encoder.fc2", "Linear", "encoder.act"),
        ("features.3", "features.2", "Conv2d", "features.3"),
        ("1", "0", "Linear", "layer 1 (ReLU after Linear 0)"),
        ("0.1", "0.0", "Conv2d", "layer 0.1 (ReLU after Conv2d 0.0)"),
        ("1", "0", None, "layer 1 (ReLU after 0)"),
        ("1", None, None, "layer 1 (ReLU)"),
        ("3#2", "2", "Linear", "layer 3#2 (ReLU after Linear 2)"),
        ("1@64", "0", "Linear", "layer 1@64 (ReLU after Linear 0)"),
        ("relu", "fc1", "Linear", "relu (after fc1)"),
        ("relu#2", "fc2", "Linear", "relu#2 (after fc2)"),
        ("relu#2", "0", "Linear", "relu#2 (after Linear 0)"),
        ("relu", None, None, "relu"),
        ("blocks.0.relu#2", "blocks.0.down", "Linear", "blocks.0.relu#2 (after blocks.0.down)"),
        ("2.relu", "2.fc", "Linear", "layer 2.relu (after 2.fc)"),
        ("act#2", "fc2", "Linear", "act#2 (after fc2)"),
        ("²", None, None, "²"),
    ],
)
def test_a_layer_is_named_by_what_a_person_finds_in_the_model(name, producer, producer_type, label):
    assert layer_label(name, "relu", producer, producer_type) == label


def test_every_activation_has_its_name_in_pytorch():
    assert layer_label("1", "relu6", "0", "Linear") == "layer 1 (ReLU6 after Linear 0)"
    assert layer_label("1", "shrink") == "layer 1 (shrink)"


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(functional.relu(self.fc2(torch.relu(self.fc1(x)))))


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (
            nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)),
            ["layer 1 (ReLU after Linear 0)", "layer 4 (ReLU after BatchNorm1d 3)"],
        ),
        (Functional(), ["relu (after fc1)", "relu#2 (after fc2)"]),
        (
            nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 2)),
            ["layer 1 (ReLU after Linear 0)"],
        ),
    ],
)
def test_a_watched_model_names_its_layers_so_in_every_upload(model, labels, memory):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        model(torch.randn(16, 6)).sum().backward()
        optimizer.step()
    described = {layer.layer_id: layer for upload in memory.uploads for layer in upload.layers}
    assert [described[layer_id].label for layer_id in sorted(described)] == labels


@pytest.mark.parametrize("limit", range(1, 12))
def test_a_long_name_loses_its_middle(limit):
    text = shortened("encoder.act", limit)
    assert len(text) == limit
    assert text == "encoder.act" or "…" in text


@pytest.mark.parametrize(
    ("title", "past"),
    [
        ("fc2 is dying", "fc2 was dying"),
        ("layer 1 (ReLU after Linear 0) is dead", "layer 1 (ReLU after Linear 0) was dead"),
        ("The output no longer depends on the input", "The output no longer depended on the input"),
        ("2 layers are dead, the first is fc1 at step 7", "2 layers were dead, the first was fc1 at step 7"),
        ("fc1 was born dead", "fc1 was born dead"),
    ],
)
def test_the_title_of_a_problem_that_is_over_is_in_the_past_tense(title, past):
    assert past_title(title) == past


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        (
            "layer 1 (ReLU after Linear 0) is dying: 5 of 8 units.",
            "Layer 1 (ReLU after Linear 0) is dying: 5 of 8 units.",
        ),
        ("fc2 is dying: 5 of 8 units.", "fc2 is dying: 5 of 8 units."),
    ],
)
def test_the_details_of_an_incident_begin_as_a_sentence_where_no_name_does(details, sentence):
    lead = alert(project="digits", run=AlertRun(name="raised", group=None, url=""), message=f"WARNING a · {details}")
    assert (
        incident_message(lead, "2 layers are dying", "warning")
        == f"WARNING digits/raised · 2 layers are dying. {sentence}"
    )
