"""Every kind of alert and every action that one proposes is explained, with code that tests/docs runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from relumine.schemas.alert import Cause, Kind
from relumine.schemas.health import HealthStatus
from relumine_server.detection.message_fix import ACTIONS

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = (DOCS / "alerts.md").read_text(encoding="utf-8")
REMEDIES = (DOCS / "remedies.md").read_text(encoding="utf-8")
CONCEPTS = (DOCS / "concepts.md").read_text(encoding="utf-8")
PARTS = ("**What it means.**", "**What to check.**", "**Fix.**", "```python")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_alert_says_what_it_means_what_to_check_and_how_to_fix_it(kind):
    section = ALERTS.partition(f"\n### `{kind}`\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert [part for part in PARTS if part not in section] == []


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_of_an_alert_is_in_the_table_of_functions(action):
    assert re.search(rf"^\| `{action}` \| (`{action}`|–) \| ", REMEDIES, re.MULTILINE)


@pytest.mark.parametrize("word", [*get_args(Cause), *get_args(HealthStatus)])
def test_every_cause_and_every_health_is_in_the_glossary(word):
    assert f"`{word}`" in CONCEPTS
