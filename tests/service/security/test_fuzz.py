"""What the OpenAPI document says is what the server does: schemathesis, briefly; benchmarks/chaos has it for long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RIG = Path(__file__).resolve().parents[3] / "benchmarks" / "chaos" / "fuzz.py"


@pytest.mark.parametrize("caller", ["open", "admin"])
def test_every_route_answers_as_the_document_says(caller):
    command = [sys.executable, RIG, "--cases", "1", "--examples", "1", "--callers", caller]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
