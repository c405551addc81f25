"""Remedies under DistributedDataParallel, torch.compile and autocast."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from relumine.remedies._replace_relu import replace_relu_
from relumine.remedies._revive import revive_
from tests.helpers.distributed import environment
from tests.helpers.dying_models import dead_model
from tests.helpers.forked_python import TRAININGS

HERE = Path(__file__).parent
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo's own, on some versions


def test_two_processes_change_the_same_units_in_the_same_way_and_stay_equal(tmp_path):
    worker = HERE / "remedies_worker.py"
    rendezvous = tmp_path / "rendezvous"
    options = {"stdout": subprocess.PIPE, "text": True, "env": environment()}
    workers = [TRAININGS.start([worker, str(rank), rendezvous], **options) for rank in (0, 1)]
    first, second = (json.loads(worker.communicate(timeout=120)[0].splitlines()[-1]) for worker in workers)
    assert first["units"] == second["units"] == {"2": [2], "4": [1]}
    assert first["state"] == second["state"]
    assert first["trained"] == second["trained"] != first["state"][0]
    assert first["change"] <= 1e-6
    assert "does not synchronize new parameters" in first["error"]


@compiles
@pytest.mark.parametrize("in_place", [True, False])
def test_a_compiled_model_is_revived_without_recompilation(in_place):
    torch._dynamo.reset()
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    model, x, dead = dead_model("branches")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if in_place:
        model.compile(backend=backend, fullgraph=True)
        compiled = model
    else:
        compiled = torch.compile(model, backend=backend, fullgraph=True)

    def train():
        compiled.train()(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    train()
    initial_output = compiled.eval()(x).detach()
    count = len(graphs)
    result = revive_(compiled, x, optimizer)
    assert result.units == dead
    assert (compiled(x).detach() - initial_output).abs().max() <= 1e-6
    train()
    assert len(graphs) == count
    replaced = replace_relu_(compiled, "leaky_relu")
    assert "recompiled" in replaced.notes[-1]
    eager = model.eval().forward(x).detach()
    assert torch.allclose(compiled(x).detach(), eager, atol=1e-6)
    assert len(graphs) == count + 1
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["perceptron", "convolutions", "residual"])
def test_under_autocast_units_are_revived_in_bfloat16_and_can_be_trained(name):
    model, x, dead = dead_model(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        initial_output = model.eval()(x).detach()
        result = revive_(model, x, optimizer)
        assert result.units == dead
        assert torch.equal(model(x).detach(), initial_output)
        for change in result.changes:
            assert change.parameter != "active_rate" or change.new == pytest.approx(0.5, abs=0.05)
        replace_relu_(model, "prelu", optimizer=optimizer)
        loss = functional.mse_loss(model.train()(x).float(), torch.zeros_like(initial_output.float()))
    loss.backward()
    optimizer.step()
    assert all(parameter.isfinite().all() and parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_model_in_bfloat16_keeps_its_type():
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).bfloat16()
    with torch.no_grad():
        model[0].bias[3] = -60.0
    x = torch.randn(64, 6, dtype=torch.bfloat16)
    initial_output = model(x).detach()
    assert 3 in revive_(model, x).units["1"]
    assert torch.equal(model(x).detach(), initial_output)
    replace_relu_(model, "prelu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
