"""Ten things that a new user wants from the dashboard: the clicks and the seconds that each takes, in a real browser.

    python -m benchmarks.dashboard.tasks [--steps 600]

Two small networks are trained first, one dies and one does not. Each task begins at the list of runs and ends when its
result is on the screen. The seconds are those of the page, without a reader's thinking. Typing into a field counts as
one action, as a click or a drag does. Needs the system's Chromium.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from playwright.sync_api import Locator, Page, sync_playwright

from benchmarks.dashboard import example_runs
from benchmarks.dashboard.page_times import chromium, serving


class User:
    """A browser tab, and what was done in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.actions = 0

    def click(self, target: Locator) -> None:
        """Click, and count it."""
        target.click()
        self.actions += 1

    def type(self, label: str, text: str) -> None:
        """Fill a field, and count it."""
        self.page.locator("main").get_by_label(label).first.fill(text)
        self.actions += 1

    def choose(self, label: str, option: str) -> None:
        """Choose an option, and count it."""
        self.page.locator("main").get_by_label(label).first.select_option(option)
        self.actions += 1

    def button(self, name: str) -> None:
        """Click the button of this name."""
        self.click(self.page.get_by_role("button", name=name).first)

    def link(self, name: str) -> None:
        """Click the link of this name."""
        self.click(self.page.get_by_role("link", name=name, exact=True).first)

    def sees(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page shows the text."""
        self.page.locator("main").get_by_text(text).first.wait_for()

    def open_run(self, name: str) -> None:
        """Open a run from the list."""
        self.link(name)
        self.page.locator(".timeline canvas").first.wait_for()


def _find_dead_runs(user: User) -> None:
    user.button("Died in 7 days")
    user.type("Project", "examples")
    user.page.locator("caption", has_text=re.compile("^1 run$")).wait_for()


def _read_the_cause(user: User) -> None:
    user.open_run("died")
    user.page.locator("#incident h2", has_text=re.compile("dead|dying")).wait_for()
    user.sees(re.compile("Cause: high learning rate"))


def _copy_the_fix(user: User) -> None:
    user.open_run("died")
    user.click(user.page.locator("#incident").get_by_role("button", name="Copy").first)


def _compare_with_the_healthy_twin(user: User) -> None:
    for name in ("died", "healthy"):
        user.click(user.page.get_by_label(f"Select {name}", exact=True))
    user.click(user.page.get_by_role("region", name="Selected runs").get_by_role("link", name="Compare"))
    user.page.locator(".timeline canvas").first.wait_for()


def _find_what_is_not_watched(user: User) -> None:
    user.open_run("died")
    user.click(user.page.get_by_role("tab", name="Coverage"))
    user.sees("Every activation that can die is watched.")


def _find_the_first_dead_unit(user: User) -> None:
    user.open_run("died")
    user.click(user.page.locator("#layer-2"))
    user.button("Last active at step")
    user.page.locator("th[aria-sort=ascending]", has_text="Last active").wait_for()


def _read_a_hyperparameter(user: User) -> None:
    user.open_run("died")
    user.click(user.page.get_by_role("tab", name="Config"))
    user.sees("seed")


def _silence_the_sweep(user: User) -> None:
    user.click(user.page.locator("[data-nav=alerts]"))
    user.click(user.page.get_by_role("tab", name="Silences"))
    user.click(user.page.locator("#new-silence"))
    user.choose("What to compare", "group")
    user.type("Value or pattern", "demo")
    user.type("Your name", "Ada")
    user.button("Create the silence")
    user.sees(re.compile("The silence is in force"))


def _add_slack(user: User) -> None:
    user.link("Settings")
    user.button("Add a webhook")
    user.type("URL", "https://hooks.slack.com/services/T0/B0/x")
    user.button("Create the webhook")
    user.sees(re.compile("secret", re.IGNORECASE))


def _learn_a_word(user: User) -> None:
    user.click(user.page.locator("#help-button"))
    user.page.locator("#help").get_by_text("Kill ratio", exact=True).wait_for()


TASKS: dict[str, Callable[[User], None]] = {
    "find the runs of a project that died this week": _find_dead_runs,
    "see which layer died first, and why": _read_the_cause,
    "copy the fix": _copy_the_fix,
    "compare with the healthy twin": _compare_with_the_healthy_twin,
    "see what is not watched": _find_what_is_not_watched,
    "find the unit that fell silent first": _find_the_first_dead_unit,
    "look up a hyperparameter": _read_a_hyperparameter,
    "silence the alerts of a sweep": _silence_the_sweep,
    "add Slack": _add_slack,
    "look up a word": _learn_a_word,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=600)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, serve and do the tasks."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, serving(f"sqlite:///{Path(folder) / 'x.db'}") as base:
        for name in ("died", "healthy"):
            example_runs.train(name, base, options.steps)
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            for title, task in TASKS.items():
                user = User(browser.new_page(viewport={"width": 1400, "height": 900}))
                user.page.goto(f"{base}/#/runs")
                user.page.locator("tbody tr").first.wait_for()
                started = time.monotonic()
                task(user)
                print(f"{title:<50} {user.actions} actions, {time.monotonic() - started:4.1f} s", flush=True)
                user.page.close()
            browser.close()


if __name__ == "__main__":
    main()
