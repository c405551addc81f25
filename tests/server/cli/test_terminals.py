"""What callers of the API sent reaches no terminal of an operator as it is."""

from __future__ import annotations

import httpx
import pytest

from relumine.schemas.printable import printable
from tests.helpers.command_line import run_command
from tests.helpers.live_server import listening

HOSTILE = "\x1b]0;x\x07\rforged\nline\x9b1m\u202eevil\u2066"


@pytest.fixture
def url(tmp_path):
    """A SQLite file with a run, a layer and a key that have hostile names."""
    address = f"sqlite:///{tmp_path / 'x.db'}"
    layers = [{"layer_id": 1, "name": f"act{HOSTILE}", "units": 4}]
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": [0] * 4} for step in range(1, 6)
    ]
    body = {"run": {"id": "r", "name": HOSTILE}, "session": "s", "seq": 1, "layers": layers, "records": records}
    with listening(address) as server:
        httpx.post(f"{server}/v1/uploads", json=body, timeout=60).raise_for_status()
        key = {"scope": "admin", "name": HOSTILE}
        secret = httpx.post(f"{server}/v1/keys", json=key, timeout=60).raise_for_status().json()["key"]
        headers = {"authorization": f"Bearer {secret}"}
        key = {"scope": "ingest", "project": HOSTILE, "name": "x"}
        httpx.post(f"{server}/v1/keys", json=key, headers=headers, timeout=60).raise_for_status()
    return address


@pytest.mark.parametrize(
    "command",
    [
        ["replay", "r"],
        ["replay", HOSTILE],
        ["keys", "list"],
        ["keys", "revoke", HOSTILE],
        ["doctor"],
        ["backup", f"missing/{HOSTILE}"],
        ["serve", "--host", HOSTILE],
    ],
    ids=lambda command: " ".join(map(ascii, command)),
)
def test_no_command_prints_a_control_character_of_others(url, command):
    result = run_command(command, RELUMINE_DATABASE_URL=url)
    lines = result.output.split("\n")
    assert any(lines)
    assert all(printable(line) == line for line in lines), lines
    assert not any(line.startswith(("forged", "line")) for line in lines)
    if command[-1] in ("r", "list"):
        assert r"\x1b]0;x\x07\rforged\nline" in result.output
