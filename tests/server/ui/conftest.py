"""Fixtures of the dashboard's tests: a real server, runs in which a layer dies, and the system's Chromium."""

from __future__ import annotations

import shutil

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.helpers.live_server import listening
from tests.server.ui.watched_tab import EMPTY_VIEW, WatchedTab

expect.set_options(timeout=60_000)  # on a busy machine; what is expected comes at once on a quiet one

UNITS, N = 24, 64
NAME = "<b>act1</b>"


def series():
    """Yield 40 sampled steps of a layer that loses three quarters of its units when the learning rate is raised."""
    rng = np.random.default_rng(7)
    for sample in range(40):
        step = 10 * sample + 1
        active = rng.binomial(N, 0.3, UNITS)
        if sample > 20:
            active[: 3 * UNITS // 4] = 0
        common = {"first_step": step, "step": step, "n_examples": N}
        yield {"layer_id": 0, **common, "learning_rate": 0.1 if sample < 20 else 1.0, "loss": 1.0}
        yield {"layer_id": 1, **common, "active": active.tolist()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a server on a free port."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('page') / 'x.db'}") as url:
        yield url


@pytest.fixture(scope="module")
def api(server):
    """A client of the server's API, for all tests of a module: to create one takes a tenth of a second."""
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


@pytest.fixture
def dying(alerts_of):
    """A run with alerts."""
    return alerts_of("run1", "baseline")


@pytest.fixture
def alerts_of(api):
    """A function that uploads a run in which a layer dies and returns its alerts."""
    return lambda run_id, name=None: _alerts_of(api, run_id, name)


def _alerts_of(api, run_id, name):
    body = {
        "run": {"id": run_id, "project": "digits", "name": name},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": NAME, "units": UNITS}],
        "records": list(series()),
    }
    response = api.post("/v1/uploads", json=body)
    assert response.status_code == 202
    return response.json()["alerts"] or api.get(f"/v1/alerts?run_id={run_id}").json()["items"]


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium; a machine without one fails these tests.

    Per module, not longer: playwright keeps an event loop running in this thread, and other tests start their own.
    """
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    assert path is not None, "no Chromium on this machine: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def shared_tab(browser, server):
    """A tab for all tests of a module. Tests use it through one of the three fixtures below."""
    watched = WatchedTab(browser.new_page(base_url=server))
    watched.rest()
    yield watched
    watched.tab.close()


@pytest.fixture
def watch(shared_tab):
    """A tab that must cause no error, no policy violation and no dialog."""
    yield shared_tab
    pwned = shared_tab.tab.evaluate("window.pwned")
    shared_tab.rest()
    records = shared_tab.take_records()
    assert (pwned, records) == (None, ([], [], []))


@pytest.fixture
def page(watch):
    """A browser page that must cause no error, no policy violation and no dialog."""
    return watch.tab


@pytest.fixture
def lenient_watch(shared_tab):
    """A tab that may cause errors: the test says which. The page is reloaded after the test."""
    yield shared_tab
    shared_tab.load(EMPTY_VIEW)
    shared_tab.rest()
    shared_tab.take_records()


@pytest.fixture
def own_tab(browser, server):
    """A tab with storage and a cache of its own, empty ones, in a light system. It must cause no error."""
    context = browser.new_context(base_url=server, color_scheme="light")
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    context.close()
    assert errors == []


@pytest.fixture
def timed_tab(browser, server):
    """A tab whose clock the test moves; its requests may fail."""
    tab = browser.new_page(base_url=server)
    tab.set_default_timeout(60_000)
    tab.clock.install()
    yield tab
    tab.close()
