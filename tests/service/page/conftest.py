"""A real server with a run in which a layer dies, and the system's Chromium."""

from __future__ import annotations

import shutil

import httpx
import numpy as np
import pytest
from live_server import listening
from playwright.sync_api import sync_playwright

UNITS, N = 24, 64
NAME = "<b>act1</b>"


def series():
    """One layer at 40 looks that loses three quarters of its units when the rate is raised."""
    rng = np.random.default_rng(7)
    for look in range(40):
        step = 10 * look + 1
        active = rng.binomial(N, 0.3, UNITS)
        if look > 20:
            active[: 3 * UNITS // 4] = 0
        here = {"first_step": step, "step": step, "n_examples": N}
        yield {"layer_id": 0, **here, "learning_rate": 0.1 if look < 20 else 1.0, "loss": 1.0}
        yield {"layer_id": 1, **here, "active": active.tolist()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a server that listens on a free port."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('page') / 'x.db'}") as url:
        yield url


@pytest.fixture
def dying(alerts_of):
    """A run with alerts."""
    return alerts_of("run1", "baseline")


@pytest.fixture
def alerts_of(server):
    """The alerts of a run in which a layer dies, sent when it is first asked for."""
    return lambda run_id, name=None: _alerts_of(server, run_id, name)


def _alerts_of(server, run_id, name):
    body = {
        "run": {"id": run_id, "project": "digits", "name": name},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": NAME, "units": UNITS}],
        "records": list(series()),
    }
    answer = httpx.post(f"{server}/v1/uploads", json=body)
    assert answer.status_code == 202
    return answer.json()["alerts"] or httpx.get(f"{server}/v1/alerts?run_id={run_id}").json()["items"]


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium; a machine without one fails these tests.

    Not for the session: playwright keeps an event loop running in this thread, and others need none.
    """
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    assert path is not None, "no Chromium on this machine: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, server):
    """A page that must stay without errors and without anything its policy forbids."""
    tab = browser.new_page(base_url=server)
    tab.set_default_timeout(15_000)
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    tab.close()
    assert complaints == []
