"""``relumine check``: text, JSON and a page, an exit status for CI, and a one-line error."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

import relumine
from relumine.cli import main
from tests.helpers.forked_python import TRAININGS

RECIPE = """
import torch
from torch import nn
def net(*widths):
    torch.manual_seed(0)
    parts = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(widths[-1], 1))
def healthy():
    return net(6, 32, 32), torch.randn(64, 6)
def dead():
    model = net(6, 32, 32)
    nn.init.constant_(model[2].bias, -100.0)
    return model, {"input": torch.randn(64, 6)}
def named():
    model = nn.Sequential(nn.Linear(3, 3))
    model.add_module("<script>alert(1)<script>", nn.ReLU())
    return model, torch.randn(4, 3)
def model_only():
    return net(6, 32)
def stops():
    raise SystemExit(0)
def fails():
    raise RuntimeError("no data\\nhere")
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    path = tmp_path / "a_recipe.py"
    path.write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield path
    sys.modules.pop("a_recipe", None)


@pytest.mark.parametrize("module", ["a_recipe", "a_recipe.py"])
def test_a_healthy_model_exits_with_0_and_a_born_dead_one_with_1(recipe, module, capsys):
    assert main(["check", f"{module}:healthy"]) == 0
    assert "2 ReLUs with 64 units" in capsys.readouterr().out
    assert main(["check", f"{module}:dead"]) == 1
    assert "! Layer 3 is born dead" in capsys.readouterr().out


def test_the_command_runs_as_a_program(recipe):
    process = TRAININGS.run(["-m", "relumine", "check", "a_recipe:dead", "--json"])
    assert process.returncode == 1
    assert json.loads(process.stdout)["findings"][0]["kind"] == "born_dead_now"


def test_the_page_is_complete_loads_nothing_and_escapes_names(recipe, capsys):
    assert main(["check", "a_recipe:named", "--html", "report.html"]) == 0
    page = (recipe.parent / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;script&gt;" in page
    assert "<script" not in page
    assert "style=" not in page
    assert "default-src 'none'" in page
    assert main(["check", "a_recipe:dead", "--html", "report.html"]) == 1
    page = (recipe.parent / "report.html").read_text()
    assert "Layer 3 is born dead" in page
    assert "Risk of being born dead" in page


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a_recipe", "names no function"),
        ("a_recipe:nothing", "has no function nothing"),
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'"),
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("a_recipe:model_only", "must return (model, inputs), and returned a Sequential"),
        ("a_recipe:fails", "RuntimeError: no data here"),
        ("a_recipe:stops", "SystemExit: 0"),
    ],
)
def test_a_target_that_cannot_be_checked_is_a_one_line_error_and_exits_with_2(recipe, target, message, capsys):
    assert main(["check", target]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert main(["check", target, "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def hints(model, inputs):
    return {hint.kind: hint for hint in relumine.check(model, inputs).hints}


def test_uncentered_inputs_give_a_hint_with_their_mean_and_standard_deviation():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
    pixels = torch.rand(32, 8, 8, generator=torch.Generator().manual_seed(1)) * 255
    (hint,) = relumine.check(model, pixels).hints
    assert (hint.kind, hint.layer) == ("input_mean", "2")
    assert hint.value == pytest.approx(1.73, abs=0.05)
    assert "none of them negative: subtract 12" in hint.text
    assert hint.text in str(relumine.check(model, pixels))
    assert set(hints(model, torch.randn(32, 64) * 50)) == {"input_scale"}
    assert hints(model, -pixels)["input_mean"].value < 0
    assert hints(model, torch.randn(32, 64)) == {}


def test_biases_that_start_far_below_zero_give_a_hint_with_their_median():
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU())
    nn.init.constant_(model[0].bias, -2.0)
    hint = hints(model, torch.randn(200, 6))["initial_bias"]
    assert hint.value < -2
    assert "standard deviations below 0 (median): start at 0" in hint.text


def test_hints_do_not_flag_a_model(recipe):
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU())
    report = relumine.check(model, torch.randn(64, 6) * 50)
    assert report.hints
    assert report.findings == ()
    assert json.loads(json.dumps(report.as_dict()))["hints"][0]["kind"] == "input_scale"
