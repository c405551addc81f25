"""Runs the code blocks of one page, in order, in one process: ``python -m tests.docs.block_runner PAGE URL``.

Python blocks share a namespace, which begins with what the pages call yours: a model, its optimizer, inputs. Shell
blocks run in the same folder. Standard output gets what the blocks print.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.docs.documents import RUN, Block, blocks_of

DOCUMENTED_URL = "http://127.0.0.1:7358"
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def namespace() -> dict[str, Any]:
    """Return the names that the pages use without defining them."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [("fc1", nn.Linear(6, 16)), ("act1", nn.ReLU()), ("fc2", nn.Linear(16, 8)), ("act2", nn.ReLU())]
    model = nn.Sequential()
    for name, layer in [*layers, ("out", nn.Linear(8, 2))]:
        model.add_module(name, layer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    inputs = torch.randn(32, 6)
    model(inputs).sum().backward()

    def train_one_step() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    names = {"model": model, "optimizer": optimizer, "inputs": inputs, "train_one_step": train_one_step, "steps": 5}
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    return names | {"scheduler": scheduler, "secret": SECRET, "request": signed_request()}


def signed_request() -> SimpleNamespace:
    """Return a notification as it arrives at a receiver."""
    from standardwebhooks import Webhook

    body, now = '{"type": "webhook.test", "data": {"alerts": []}}', datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return SimpleNamespace(headers=headers, body=body.encode())


def run_page(page: Path, url: str) -> int:
    """Run the blocks of a page; return how many ran. Raises what a block raises, and AssertionError for its output."""
    names = namespace()
    printed = ""
    count = 0
    for block in blocks_of(page):
        code = block.code.replace(DOCUMENTED_URL, url)
        if block.mark.startswith("file: "):
            write_file(block.mark.removeprefix("file: "), code)
        elif block.mark == "output":
            check_output(block, code, printed)
        elif block.language in RUN and is_runnable(block):
            printed = run_block(block, code, names, page)
            count += 1
    return count


def is_runnable(block: Block) -> bool:
    """Return whether a block can run here."""
    if block.mark.startswith("needs: "):
        return importlib.util.find_spec(block.mark.removeprefix("needs: ")) is not None
    return not block.mark.startswith("not run: ")


def write_file(mark: str, code: str) -> None:
    """Write a block to a file, or to a copy of another one in place of its line that begins with "with"."""
    name, _, other = mark.partition(", from ")
    if other:
        lines = Path(other).read_text(encoding="utf-8").splitlines(keepends=True)
        (number,) = [number for number, line in enumerate(lines) if line.startswith("with ")]
        lines[number] = code
        code = "".join(lines)
    Path(name).write_text(code, encoding="utf-8")


def run_block(block: Block, code: str, names: dict[str, Any], page: Path) -> str:
    """Run a block and return what it printed, on both streams."""
    with tempfile.TemporaryFile("w+") as file:
        streams = [os.dup(1), os.dup(2)]
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            run_code(block, code, names, page)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, kept_open in zip((1, 2), streams, strict=True):
                os.dup2(kept_open, stream)
            file.seek(0)
            printed = file.read()
            print(printed)
    return printed


def run_code(block: Block, code: str, names: dict[str, Any], page: Path) -> None:
    """Run Python in this process, a command in a shell. The line of a server is left out: it runs already."""
    if block.language == "python":
        exec(compile("\n" * block.line + code, str(page), "exec"), names)  # noqa: S102 - what a reader would do
        return
    code = re.sub(r"^relumine-server serve\b.*$", f"curl {os.environ['RELUMINE_URL']}/readyz", code, flags=re.MULTILINE)
    if "$KEY_ID" in code:
        code = f"KEY_ID=$(relumine-server keys list | tail -n 1 | cut -d' ' -f1)\n{code}"
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=False, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise AssertionError(f"{page}:{block.line}: exit status {result.returncode}")


def check_output(block: Block, code: str, printed: str) -> None:
    """Fail where the page shows another output than the block printed.

    Line breaks count as spaces. The severity of a first line depends on how many steps an upload holds.
    """
    expected = [re.escape(part) for part in _comparable(code).split("…")]
    if not re.search(".*?".join(expected), _comparable(printed)):
        raise AssertionError(f"line {block.line}: the output is not\n{code}\nbut\n{printed}")


def _comparable(text: str) -> str:
    return re.sub(r"\b(WARNING|CRITICAL)\b", "SEVERITY", " ".join(text.split()))


def main(arguments: Sequence[str]) -> None:
    """Run a page."""
    page, url = arguments
    print(f"blocks run: {run_page(Path(page), url)}")


if __name__ == "__main__":
    main(sys.argv[1:])
