"""Every Python and shell block of the documentation runs as it stands there, against a real server."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import relumine
from tests.docs.documents import LANGUAGES, PAGES, ROOT, RUN, blocks_of
from tests.helpers.forked_python import TRAININGS
from tests.helpers.server_process import ServerProcess

REASONS = re.compile(
    r"needs (a package index|Docker|Docker and a registry|Kubernetes|a Citus cluster|SLURM|systemd)"
    r"|needs (a cluster|an account)"
    r"|it would remove the package from the test environment"
    r"|tests cannot run themselves|tests/examples runs it|it does not end; .* runs it with real notifications"
    r"|the layers of this page are tapped, not ReLUs"
)
"""Why a block may be left out."""

MARKS = re.compile(rf"|output|needs: \w+|file: [\w.]+(, from [\w.]+)?|not run: ({REASONS.pattern})")
LIBRARIES = {
    "lightning.md": ["lightning.pytorch"],
    "transformers.md": ["transformers.trainer", "transformers.models.bert.modeling_bert"],
}
"""What blocks import beside torch."""

UPLOAD = {
    "run": {"id": "", "project": "digits", "name": "baseline"}, "session": "s1", "seq": 1,
    "layers": [{"layer_id": 1, "name": "act1", "units": 3}],
    "records": [{"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 64, "active": [30, 0, 12]}],
}  # fmt: skip
WITH_BLOCKS = [
    page
    for page in PAGES
    if any(block.language in RUN and not block.mark.startswith(("not run: ", "file: ")) for block in blocks_of(page))
]
# Pages of loggers are run by tests/examples/test_loggers.py, which looks into what they wrote.
ELSEWHERE = {ROOT / "docs/integrations/loggers.md"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def server_url(sqlite_template, tmp_path_factory):
    database = tmp_path_factory.mktemp("server") / "x.db"
    shutil.copy(sqlite_template, database)
    settings = {
        "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true",
        "RELUMINE_WEBHOOK_ALLOWED_TARGETS": "alertmanager.internal",
    }
    process = ServerProcess(f"sqlite:///{database}", database.parent, **settings).wait_until_ready()
    yield process.url
    process.kill()


@pytest.fixture
def server(server_url):
    """A server with one run and one webhook, whatever other pages left."""
    with relumine.Client(server_url) as client:
        for run in client.runs():
            client.delete_run(run.run_id)
        for webhook in client.webhooks():
            client.delete_webhook(webhook.webhook_id)
        client.upload(UPLOAD | {"run": UPLOAD["run"] | {"id": f"run-{time.monotonic_ns()}"}})
        client.set_policy("digits", {})
        webhook = client.create_webhook("http://127.0.0.1:8009/hook")
    return SimpleNamespace(url=server_url, webhook_id=webhook.webhook_id)


@pytest.mark.parametrize("page", [page for page in WITH_BLOCKS if page not in ELSEWHERE], ids=name_of)
def test_the_blocks_of_a_page_run(page, server, sqlite_template, tmp_path):
    folder = tmp_path / "reader"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "relumine.db")  # the server's own folder, for backup and keys
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    variables = {
        "CURL_HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)]),
        "RELUMINE_API_KEY": "",
        "RELUMINE_DIR": ".relumine",
        "RELUMINE_URL": server.url,
        "WEBHOOK_ID": server.webhook_id,
    }
    modules = LIBRARIES.get(page.name, [])
    environment = {**os.environ, **variables}
    command = ["-m", "tests.docs.block_runner", str(page), server.url]
    result = TRAININGS.run(command, also=modules, cwd=folder, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_names_its_language_and_every_mark_is_known(page):
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"line {block.line}: {block.language or 'no language'}"
        assert MARKS.fullmatch(block.mark), f"line {block.line}: {block.mark}"


def test_few_blocks_are_left_out():
    blocks = [block for page in PAGES for block in blocks_of(page) if block.language in RUN]
    left_out = [block for block in blocks if block.mark.startswith("not run: ")]
    assert len(left_out) < len(blocks) / 3
