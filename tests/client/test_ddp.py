"""With several processes one speaks for all, and no collective is issued by us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from two_processes import environment

HERE = Path(__file__).parent


def two_processes(worker, folder):
    command = [sys.executable, HERE / worker]
    out = {"stdout": subprocess.PIPE, "text": True, "env": environment()}
    workers = [subprocess.Popen([*command, str(rank), folder / "store"], **out) for rank in (0, 1)]
    said = [json.loads(worker.communicate(timeout=120)[0].splitlines()[-1]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return said


def test_rank_0_speaks_and_the_wrapper_is_stripped_from_names(tmp_path):
    said = two_processes("ddp_worker.py", tmp_path)
    assert said[0]["names"] == ["1"]
    assert said[0]["world"] == [2]
    assert said[1] == {"rank": 1, "uploads": 0, "names": [], "world": []}


def test_under_fsdp_layers_are_seen_without_a_split_and_no_collective_is_added(tmp_path):
    said = two_processes("fsdp_worker.py", tmp_path)
    watched, bare = said[0]["watched"], said[0]["bare"]
    assert list(watched["rows"]) == ["1"]
    assert watched["rows"]["1"][0] == "none"
    assert "sharded" in watched["rows"]["1"][1][0]
    assert watched["records"] == [1, 3, 5, 7, 9]
    assert watched["losses"] == bare["losses"]
    assert watched["collectives"] == bare["collectives"] > 0
    assert said[1]["watched"]["collectives"] == watched["collectives"]
    assert said[1]["watched"]["records"] == []
