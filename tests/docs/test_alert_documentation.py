"""Every kind of alert and every action that one proposes is explained, with code that can be pasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from relumine.schemas.alert import Kind
from relumine_server.detection.message_fix import ACTIONS

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = (DOCS / "alerts.md").read_text(encoding="utf-8")
REMEDIES = (DOCS / "remedies.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", ALERTS, re.DOTALL) if "dump_traceback" not in block]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_alert_has_a_section(kind):
    assert f"\n### `{kind}`\n" in ALERTS


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_of_an_alert_is_in_the_table_of_functions(action):
    assert re.search(rf"^\| `{action}` \| (`{action}`|–) \| ", REMEDIES, re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_of_every_section_runs(code):
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    inputs = torch.randn(32, 6)
    model(inputs).sum().backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    exec(code, {"model": model, "optimizer": optimizer, "inputs": inputs})  # noqa: S102 - what a reader would do
