"""Generators of clients read the OpenAPI document without a warning, and what they generate works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relumine_server.app import create_app
from relumine_server.settings import Settings
from tests.helpers.live_server import listening

BIN = Path(sys.prefix) / "bin"
NODE_PACKAGES = Path(sys.prefix) / "generators" / "node_modules"
PYTHON_PROGRAM = """
import sys
from relumine_client import Client
from relumine_client.api.runs import list_runs, read_run
from relumine_client.api.uploads import post_upload
from relumine_client.models import SentLayerInfo, SentRecord, SentRunInfo, Upload

upload = Upload(
    run=SentRunInfo(id="r1", project="digits"), session="s1", seq=1,
    layers=[SentLayerInfo(layer_id=1, name="act1", units=2)],
    records=[SentRecord(layer_id=1, first_step=1, step=1, n_examples=8, active=[4, 4])],
)
with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:
    assert post_upload.sync(client=client, body=upload).accepted == 1
    assert [run.run_id for run in list_runs.sync(client=client, project="digits").items] == ["r1"]
    print(read_run.sync("missing", client=client).code)
"""
TYPESCRIPT_PROGRAM = """
import type { components, operations } from "./api";

const upload: components["schemas"]["Upload"] = {
  run: { id: "r1", project: "digits" }, session: "s1", seq: 1,
  layers: [{ layer_id: 1, name: "act1", units: 2 }],
  records: [{ layer_id: 1, first_step: 1, step: 1, n_examples: 8, active: [4, 4] }],
};
type Runs = operations["list_runs"]["responses"][200]["content"]["application/json"];
export const health = (runs: Runs): string[] => [upload.session, ...runs.items.map((run) => run.health)];
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The file of the OpenAPI document."""
    folder = tmp_path_factory.mktemp("document")
    app = create_app(Settings(database_url=f"sqlite:///{folder / 'x.db'}"))
    path = folder / "openapi.json"
    path.write_text(json.dumps(app.openapi()))
    app.state.services.database.close()
    return path


def run(*command, cwd):
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_openapi_python_client_generates_a_client_that_uploads_and_lists(document, tmp_path):
    target = tmp_path / "generated"
    options = ("--path", document, "--output-path", target, "--meta", "none", "--fail-on-warning")
    output = run(BIN / "openapi-python-client", "generate", *options, cwd=tmp_path)
    assert "warning" not in output.lower()
    target.rename(tmp_path / "relumine_client")
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        assert run(sys.executable, "-c", PYTHON_PROGRAM, url, cwd=tmp_path) == "run_not_found\n"


def test_openapi_typescript_generates_types_that_describe_an_upload_and_a_list(document, tmp_path):
    assert NODE_PACKAGES.is_dir(), "the generator is not installed: make generators"
    assert shutil.which("node"), "node is not installed: make generators"
    # Its default makes every field with a default required, in requests as well.
    options = ("--default-non-nullable=false", "-o", tmp_path / "api.ts")
    output = run(NODE_PACKAGES / ".bin" / "openapi-typescript", document, *options, cwd=tmp_path)
    assert "warn" not in output.lower()
    (tmp_path / "program.ts").write_text(TYPESCRIPT_PROGRAM)
    run(NODE_PACKAGES / ".bin" / "tsc", "--noEmit", "--strict", "program.ts", cwd=tmp_path)
