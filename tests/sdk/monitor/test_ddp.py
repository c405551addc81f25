"""With several processes rank 0 is watched, and the SDK issues no collective."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.helpers.distributed import environment
from tests.helpers.forked_python import TRAININGS

HERE = Path(__file__).parent
ALSO = ["torch.distributed.fsdp"]


def two_processes(worker, folder):
    out = {"stdout": subprocess.PIPE, "text": True, "env": environment()}
    workers = [TRAININGS.start([HERE / worker, str(rank), folder / "store"], also=ALSO, **out) for rank in (0, 1)]
    results = [json.loads(worker.communicate(timeout=120)[0].splitlines()[-1]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return results


def test_rank_0_uploads_and_names_are_without_the_wrapper(tmp_path):
    results = two_processes("ddp_worker.py", tmp_path)
    assert results[0]["names"] == ["1"]
    assert results[0]["world"] == [2]
    assert results[1] == {"rank": 1, "uploads": 0, "names": [], "world": []}


def test_under_fsdp_layers_are_watched_without_a_split_and_no_collective_is_added(tmp_path):
    results = two_processes("fsdp_worker.py", tmp_path)
    watched, bare = results[0]["watched"], results[0]["bare"]
    assert list(watched["rows"]) == ["1"]
    assert watched["rows"]["1"][0] == "none"
    assert "sharded" in watched["rows"]["1"][1][0]
    assert watched["records"] == [1, 3, 5, 7, 9]
    assert watched["losses"] == bare["losses"]
    assert watched["collectives"] == bare["collectives"] > 0
    assert results[1]["watched"]["collectives"] == watched["collectives"]
    assert results[1]["watched"]["records"] == []
