"""Under DistributedDataParallel one process speaks for all, and no collective is issued."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).parent / "ddp_worker.py"


def test_rank_0_speaks_and_the_wrapper_is_stripped_from_names(tmp_path):
    command = [sys.executable, WORKER]
    workers = [
        subprocess.Popen([*command, str(rank), tmp_path / "store"], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    said = [json.loads(worker.communicate(timeout=120)[0].splitlines()[-1]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said[0]["names"] == ["1"]
    assert said[0]["world"] == [2]
    assert said[1] == {"rank": 1, "uploads": 0, "names": [], "world": []}
