"""Large answers of reads are compressed for clients that accept it, and are otherwise the same."""

from __future__ import annotations

import gzip

import httpx
import pytest

from tests.helpers.live_server import listening

LAYERS = 60
LARGE = ["/v1/runs/r/overview", "/v1/runs/r/layers", "/v1/runs/r/export?format=csv"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with a run of many layers."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('compression') / 'x.db'}") as url:
        layers = [{"layer_id": number, "name": f"fc{number}", "units": 4} for number in range(1, LAYERS + 1)]
        records = [
            {"layer_id": number, "first_step": step, "step": step, "n_examples": 64, "active": [32] * 4}
            for step in range(1, 4)
            for number in range(1, LAYERS + 1)
        ]
        body = {"run": {"id": "r"}, "session": "s", "seq": 1, "layers": layers, "records": records}
        assert httpx.post(f"{url}/v1/uploads", json=body).status_code == 202
        yield url


def read(server, path, encoding, **headers):
    """Return the status, the headers and the undecoded body of an answer."""
    with httpx.stream("GET", server + path, headers={"accept-encoding": encoding, **headers}) as response:
        return response.status_code, response.headers, b"".join(response.iter_raw())


@pytest.mark.parametrize("path", LARGE)
def test_a_large_answer_is_compressed_and_the_same(server, path):
    status, headers, plain = read(server, path, "identity")
    assert (status, headers.get("content-encoding")) == (200, None)
    status, headers, compressed = read(server, path, "gzip")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert "accept-encoding" in headers["vary"].lower()
    assert gzip.decompress(compressed) == plain
    assert len(compressed) < len(plain) / 2


def test_a_small_answer_is_sent_as_it_is(server):
    status, headers, _ = read(server, "/v1/runs/r", "gzip")
    assert (status, headers.get("content-encoding")) == (200, None)


def test_an_unchanged_overview_is_not_sent_again_however_it_was_sent_first(server):
    for first, again in (("gzip", "identity"), ("identity", "gzip")):
        _, headers, _ = read(server, "/v1/runs/r/overview", first)
        status, _, body = read(server, "/v1/runs/r/overview", again, **{"if-none-match": headers["etag"]})
        assert (status, body) == (304, b"")
