"""The files of the dashboard: what a browser may keep, in which form they are sent, and that nothing else is."""

from __future__ import annotations

import re

import pytest

from relumine_server.ui.modules import FOLDER

APP = (FOLDER / "app.js").read_text(encoding="utf-8")


@pytest.fixture
def address(call):
    """A function that returns the address of a file as the page names it."""
    build = re.search(r'src="static/(\w+)/app\.js"', call("GET", "/").text)[1]
    return lambda name: f"/static/{build}/{name}"


def test_a_file_of_this_build_is_kept_for_ever_and_one_of_another_build_is_checked(call, address):
    present = call("GET", address("app.js"))
    earlier = call("GET", "/static/other/app.js")
    assert (present.text, earlier.text) == (APP, APP)
    assert present.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert earlier.headers["cache-control"] == "no-cache"
    assert "default-src 'none'" in present.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style/base.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
def test_a_file_is_sent_compressed_where_the_browser_takes_it_and_is_not_sent_again(call, address, name, media_type):
    plain = call("GET", address(name), headers={"accept-encoding": "identity"})
    compressed = call("GET", address(name), headers={"accept-encoding": "gzip"})
    assert plain.content == compressed.content
    assert "content-encoding" not in plain.headers
    assert compressed.headers.get("content-encoding") == ("gzip" if len(plain.content) >= 1000 else None)
    assert plain.headers["content-type"] == compressed.headers["content-type"] == media_type
    assert plain.headers["etag"] == compressed.headers["etag"]
    assert plain.headers["vary"] == compressed.headers["vary"] == "Accept-Encoding"

    unchanged = call("GET", address(name), headers={"if-none-match": plain.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["cache-control"] == plain.headers["cache-control"]
    assert unchanged.headers["content-security-policy"] == plain.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["app.js", "swagger-ui.css"])
def test_a_range_is_answered_with_the_whole_file(call, address, name):
    answer = call("GET", address(name), headers={"range": "bytes=0-9"})
    assert (answer.status_code, answer.content) == (200, call("GET", address(name)).content)


@pytest.mark.parametrize(
    "name", ["", "none.js", "index.html", "../routes.py", "%2e%2e/routes.py", "core", "core/", "/etc/passwd", "app.js/"]
)
def test_nothing_else_is_sent(call, address, name):
    assert call("GET", address(name)).status_code == 404
