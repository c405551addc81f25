"""The messages that the troubleshooting tables quote are those that the code prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relumine_server.errors import CODES

ROOT = Path(__file__).parents[2]
PAGES = ("docs/troubleshooting.md", "docs/notifications/index.md")
SOURCES = [*ROOT.glob("client/relumine/**/*.py"), *ROOT.glob("service/relumine_server/**/*.py")]
SYMPTOM = re.compile(r"^\| ([^|]+) \|", re.MULTILINE)


def source_text():
    """Return the sources as one line, with adjacent strings joined."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    return re.sub(r'"\s*\n?\s*f?"', "", " ".join(text.split()))


SOURCE = source_text()


def quoted_messages():
    """Yield each quoted part of at least two words, by page."""
    for page in PAGES:
        for symptom in SYMPTOM.findall((ROOT / page).read_text(encoding="utf-8")):
            for quoted in re.findall(r"`([^`]+)`", symptom):
                for part in quoted.split("…"):
                    if len(part.split()) > 1 and re.fullmatch(r"[\w ,'-]+", part.strip()):
                        yield page, part.strip()


@pytest.mark.parametrize(("page", "message"), sorted(set(quoted_messages())))
def test_a_quoted_message_is_one_of_the_code(page, message):
    assert message in SOURCE


def test_every_status_with_a_code_is_a_problem_of_the_server():
    named = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        named |= set(re.findall(r"\b(?:4\d\d|5\d\d) `([a-z_]+)`", text))
    assert len(named) > 3
    assert named <= CODES
